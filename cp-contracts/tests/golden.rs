//! Documents of every released version are read by today's types and written back unchanged.

use std::{collections::BTreeSet, fs, path::Path};

use cp_contracts::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn round_trip<T: DeserializeOwned + Serialize>(text: &str) -> serde_json::Result<Value> {
    serde_json::to_value(serde_json::from_str::<T>(text)?)
}

/// Drops members that are `null`: an optional member that is `null` and one that is absent mean the
/// same, and this version writes the shorter form.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, v)| (k, without_nulls(v)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        scalar => scalar,
    }
}

#[test]
fn every_version_reads_and_writes_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut versions = BTreeSet::new();
    for version in fs::read_dir(root).unwrap().map(|entry| entry.unwrap()) {
        let is_current = version.file_name() == CONTRACT_VERSION;
        for file in fs::read_dir(version.path()).unwrap().map(|entry| entry.unwrap().path()) {
            let text = fs::read_to_string(&file).unwrap();
            let mut written = match file.file_stem().unwrap().to_str().unwrap() {
                "license_claims" | "license_claims_later" => {
                    round_trip::<DeploymentLicenseClaims>(&text)
                }
                "license_bundle" => round_trip::<LicenseBundleResponse>(&text),
                "whoami_v1" => round_trip::<WhoAmIResponseV1>(&text),
                "whoami_v2" => round_trip::<WhoAmIResponseV2>(&text),
                "problem" | "problem_later" => round_trip::<Problem>(&text),
                "jwks" => round_trip::<JwkSet>(&text),
                "status_list_claims" | "status_list_claims_later" => {
                    round_trip::<StatusListClaims>(&text)
                }
                "status_lists" => round_trip::<StatusListAggregation>(&text),
                "license_file" | "license_file_later" | "refresh_file" => {
                    round_trip::<LicenseFileClaims>(&text)
                }
                "signing_key" => round_trip::<SigningKeyClaims>(&text),
                "lease" => round_trip::<Lease>(&text),
                "lease_claims" => round_trip::<LeaseClaims>(&text),
                "check_in" => round_trip::<CheckIn>(&text),
                "event" => round_trip::<Event>(&text),
                "webhook" => round_trip::<WebhookPayload>(&text),
                "validation" => round_trip::<Validation>(&text),
                "usage_report" | "usage_report_first" => round_trip::<UsageReport>(&text),
                other => panic!("no type is known for {other}.json"),
            }
            .unwrap();
            let mut golden: Value = serde_json::from_str(&text).unwrap();
            // What this version writes comes back to the letter; of older ones, `null` may go.
            if !is_current {
                (written, golden) = (without_nulls(written), without_nulls(golden));
            }
            assert_eq!(written, golden, "{}", file.display());
        }
        versions.insert(version.file_name().into_string().unwrap());
    }
    assert!(versions.contains(CONTRACT_VERSION), "add golden/{CONTRACT_VERSION}");
}

#[test]
fn later_values_survive() {
    let text = include_str!("../golden/2.11.0/license_claims_later.json");
    let claims: DeploymentLicenseClaims = serde_json::from_str(text).unwrap();
    assert_eq!(claims.license.deployment.kind, DeploymentType::Other("edge".to_owned()));
    assert_eq!(claims.enforcement.unwrap().on_stale, OnStale::Other("ask".to_owned()));
    assert_eq!(claims.license.deployment.extra["zone"], "b");
    assert_eq!(claims.license.limits["api_calls_per_month"], None);
}

#[test]
fn token_size_budget_holds_for_a_full_license() {
    let text = include_str!("../golden/2.11.0/license_claims.json");
    let claims: DeploymentLicenseClaims = serde_json::from_str(text).unwrap();
    // base64url of the payload, and about 500 bytes of header and RSA-2048 signature.
    let compact = serde_json::to_vec(&claims).unwrap().len() * 4 / 3 + 500;
    assert!(compact < LICENSE_TOKEN_MAX_BYTES / 2, "{compact}");
}
