//! The format of the state file: a file that version 0.1.0 wrote, with everything that it can keep.

use std::fs;

use dp_verifier::LicenseState::LogAnomaly;
use dp_verifier::{Verifier, log_record, state_record};
use serde_json::{Value, json};

use crate::support::*;

#[test]
fn file_of_an_earlier_version_is_read_and_written_unchanged() {
    let golden: Value = serde_json::from_str(include_str!("state_file_0.1.0.json")).unwrap();
    let file = golden["file"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    write_private(&path, file);
    assert_eq!(json!(state_record(&path).unwrap()), golden["state"]);
    assert_eq!(json!(log_record(&path).unwrap()), golden["log"]);

    // The file has the keys, the log key and the proof.
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW);
    let verifier = builder.state_path(&path).build().unwrap();
    let license = verifier.verify(golden["token"].as_str().unwrap()).unwrap();
    assert_eq!((license.state(), license.log_index()), (LogAnomaly, Some(7)));
    assert_eq!(verifier.status_lists()[0].issued_at, golden["state"]["time_floor"]);
    drop(verifier);
    assert_eq!(fs::read_to_string(&path).unwrap(), file);

    // A write that changes one member: the numbers of reports grow, everything else is as it was.
    let report = dp_verifier::usage_report(&path, [].into()).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["sequence"], &report["file_seq"]), (&json!(2), &json!(3)));
    let written: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut expected: Value = serde_json::from_str(file).unwrap();
    assert_eq!(written["report"]["sequence"], 2);
    expected["report"] = written["report"].clone();
    assert_eq!(written, expected);
}
