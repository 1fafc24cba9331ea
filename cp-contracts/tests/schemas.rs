//! The committed JSON Schemas are those of the types.
//!
//! `UPDATE_SCHEMAS=1 cargo test -p cp-contracts --all-features --test schemas` rewrites them.

use std::{collections::BTreeMap, fs, path::Path};

use cp_contracts::*;
use schemars::{Schema, schema_for};

macro_rules! schemas {
    ($($name:ident)+) => {
        fn schemas() -> BTreeMap<&'static str, Schema> {
            BTreeMap::from([$((stringify!($name), schema_for!($name)),)+])
        }
    };
}

schemas! {
    CheckIn CheckInCode DeploymentClaims DeploymentLicenseClaims DeploymentType EncodedStatusList
    Enforcement EntryBits Event EventActor EventTarget FieldError HolderKind Jwk JwkSet Lease LeaseBodyClaims LeaseClaims
    LeaseEnd LeaseHolder LeaseState LicenseBodyClaims LicenseBundleResponse LicenseFileClaims
    OnStale OrganizationClaims PlanClaims PoolClaims PoolKind PoolUsage Problem ProblemCode SigningKeyClaims
    StatusClaim StatusListAggregation StatusListClaims StatusListRef SubscriptionClaims UsageReport
    UsageReportKind ValidatedLicense Validation ValidationCode WebhookPayload WhoAmIGroup WhoAmIMembershipV1
    WhoAmIOrganizationV2 WhoAmIResponseV1 WhoAmIResponseV2 WhoAmIRoleV1 WhoAmIRoleV2 WhoAmIUserV1
    WhoAmIUserV2 WhoAmIWorkspaceV2
}

#[test]
fn committed_schemas_are_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting")]
    let update = std::env::var("UPDATE_SCHEMAS").is_ok();
    for (name, schema) in schemas() {
        let file = dir.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if update {
            fs::write(&file, &text).unwrap();
        }
        // Compared as JSON: another crate of the build may turn on insertion order in serde_json.
        let committed = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let current = committed == Some(schema.to_value());
        assert!(current, "{name}.json is not current: run with UPDATE_SCHEMAS=1");
    }
    let committed = fs::read_dir(&dir).unwrap().count();
    assert_eq!(committed, schemas().len(), "{} holds a schema of no type", dir.display());
}

#[test]
fn every_exported_type_has_a_schema() {
    let root = include_str!("../src/lib.rs");
    let exported = root
        .split("pub use ")
        .skip(1)
        .filter_map(|line| line.split(';').next()?.split("::").nth(1))
        .flat_map(|names| names.split(['{', '}', ',', ' ', '\n']))
        .filter(|name| name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase));
    // These are Rust's side of a header or of an encoding, or rules, and are in no document.
    let rust_only = [
        ["ContractVersion", "UnsupportedContract", "StatusList", "StatusListError", "TokenStatus"],
        ["LicenseKey", "LicenseKeyError", "LeasePace", "LeasePool", "LeasePoolRules"],
        ["LeaseClaim", "LeaseAnswer", "ClaimAnswer", "LeaseOverage", "LeaseTakeOver"],
    ];
    let rust_only = [rust_only.as_flattened(), &["SeatTenure", "SeatsExhausted"]].concat();
    let known = schemas();
    let missing: Vec<_> = exported
        .filter(|name| !rust_only.contains(name))
        .filter(|name| !known.contains_key(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
