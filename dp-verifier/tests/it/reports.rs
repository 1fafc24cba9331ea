//! Usage reports: numbered without a gap, each naming the one before.

use std::collections::BTreeMap;
use std::fs;

use aws_lc_rs::digest::{SHA256, digest};
use dp_verifier::cp_contracts::{PoolUsage, UsageReport};
use dp_verifier::{Verifier, usage_report, usage_report_with_leases};
use serde_json::{Number, Value, json};

use crate::support::*;

fn counters(counters: Value) -> BTreeMap<String, Number> {
    serde_json::from_value(counters).unwrap()
}

fn hash(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_report_continues_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let open = |now: i64| {
        let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(move || now);
        let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
        builder.jwks(jwks).state_path(&state).build().unwrap()
    };
    let verifier = open(NOW);
    let mut file = file_claims(3, &[&KEY]);
    file["status_list"] = json!(KEY.list(&list_claims(NOW - 10, 0)));
    file["checkpoint"] = json!("cp.example/log\n1\n");
    verifier.import(&KEY.file(&file_claims(2, &[&KEY]))).unwrap();
    verifier.import(&KEY.file(&file)).unwrap();
    let first = verifier.usage_report(counters(json!({ "api_calls": 120, "hours": 1.5 }))).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&first).unwrap(),
        json!({
            "kind": "usage_report", "deployment_id": file["sub"], "license_id": file["license_id"],
            "sequence": 1, "since": "2026-01-09T23:05:02Z", "until": "2026-01-09T23:06:40Z",
            "counters": { "api_calls": 120, "hours": 1.5 }, "file_seq": 3,
            "status_list_iat": NOW - 10, "checkpoint": "cp.example/log\n1\n", "contract": "2.11.0",
        })
    );
    drop(verifier);
    // After a restart, and from the state file alone.
    let read = |text: &str| serde_json::from_str::<UsageReport>(text).unwrap();
    let second = open(NOW + 60).usage_report(BTreeMap::new()).unwrap();
    let third = usage_report(&state, counters(json!({ "api_calls": 0 }))).unwrap();
    let chained = [(&first, &second), (&second, &third)].map(|(before, after)| {
        let (before_read, after) = (read(before), read(after));
        assert_eq!(after.sequence, before_read.sequence + 1);
        assert_eq!(after.since, before_read.until);
        after.previous == Some(hash(before))
    });
    assert_eq!(chained, [true, true]);
    assert_eq!(read(&second).until.timestamp(), NOW + 60);
}

#[test]
fn refused_report_uses_up_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let absent = usage_report(&state, BTreeMap::new()).unwrap_err();
    assert!(absent.to_string().contains("there is no state file"), "{absent}");
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW);
    // The floor is as high as it gets, or it would be written while the file is damaged below.
    let verifier = builder.jwks(jwks).state_path(&state).time_floor(NOW).build().unwrap();
    let nothing = verifier.usage_report(BTreeMap::new()).unwrap_err();
    assert!(nothing.to_string().contains("import a license file first"), "{nothing}");
    verifier.import(&KEY.file(&file_claims(1, &[&KEY]))).unwrap();
    for wrong in [json!({ "seats": -1 }), json!({ "seats": -0.5 })] {
        let refused = verifier.usage_report(counters(wrong)).unwrap_err();
        assert_eq!(refused.to_string(), "the counter \"seats\" must not be negative");
    }
    let kept = fs::read(&state).unwrap();
    write_private(&state, "{");
    let unwritable = verifier.usage_report(BTreeMap::new()).unwrap_err();
    assert!(unwritable.to_string().contains("damaged"), "{unwritable}");
    write_private(&state, kept);
    let report = verifier.usage_report(BTreeMap::new()).unwrap();
    assert_eq!(serde_json::from_str::<UsageReport>(&report).unwrap().sequence, 1);
}

#[test]
fn report_has_the_use_of_each_pool() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW);
    let verifier = builder.jwks(jwks).state_path(&state).build().unwrap();
    verifier.import(&KEY.file(&file_claims(1, &[&KEY]))).unwrap();
    let leases = |peak, refused| {
        let usage = PoolUsage { peak, refused, ..PoolUsage::default() };
        BTreeMap::from([("render".to_owned(), usage)])
    };
    let text = verifier.usage_report_with_leases(BTreeMap::new(), leases(12, 3)).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["leases"], json!({ "render": { "peak": 12, "refused": 3 } }));
    for (peak, refused) in [(-1, 0), (0, -1)] {
        let refused = verifier.usage_report_with_leases(BTreeMap::new(), leases(peak, refused));
        assert!(refused.unwrap_err().to_string().contains("\"render\" must not be negative"));
    }
    let text = usage_report_with_leases(&state, BTreeMap::new(), leases(0, 0)).unwrap();
    assert_eq!(serde_json::from_str::<UsageReport>(&text).unwrap().sequence, 2);
}
