//! What an operator sees of the log that a state file keeps, and beginning again.

use std::path::Path;

use dp_verifier::ErrorCode::{ProofInvalid, ProofMissing, SplitView};
use dp_verifier::{LicenseState, Verifier, accept_log, log_record};
use serde_json::json;

use crate::log::{Log, builder, token};
use crate::support::*;

const OTHER: &str = "018f2a00-0000-7000-8000-00000000ffff";

fn verifier(log: &Log, state: &Path) -> Verifier {
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    builder(log).jwks(jwks).state_path(state).require_inclusion().build().unwrap()
}

/// A verifier that has seen the token proved in a log, and another history of the same size. Returns
/// that and the token that is in it.
pub(crate) fn split(log: &mut Log, state: &Path) -> (Verifier, Log, String) {
    let mut fork = log.clone();
    let index = log.issue(&token());
    let verifier = verifier(log, state);
    verifier.verify_with_proof(&token(), &log.proof(index)).unwrap();
    let other = KEY.token(&claims_with("/jti", json!(OTHER)));
    let forked = fork.issue_with_id(&other, OTHER);
    assert_refused(verifier.verify_with_proof(&other, &fork.proof(forked)), SplitView);
    (verifier, fork, other)
}

#[test]
fn accept_log_keeps_the_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    assert!(log_record(&state).unwrap_err().contains("there is no state file"));
    let mut log = Log::of(3);
    let seen_log = log.clone();
    drop(verifier(&log, &state));
    let nothing = log_record(&state).unwrap();
    assert_eq!((nothing.key, nothing.checkpoint), (None, None));
    assert!(accept_log(&state, "why not").unwrap_err().contains("has no log"));

    let (running, fork, other) = split(&mut log, &state);
    let before = std::fs::read(&state).unwrap();
    let record = log_record(&state).unwrap();
    assert_eq!(std::fs::read(&state).unwrap(), before, "evidence is only read");
    let seen = log.checkpoint();
    let anomaly = record.anomaly.clone().unwrap();
    assert_eq!((record.key.as_deref(), record.size), (Some(&*log.vkey()), Some(4)));
    assert_eq!((record.checkpoint, record.proofs, record.former), (Some(seen.clone()), 1, vec![]));
    assert_eq!((anomaly.code, anomaly.at), (SplitView, NOW));
    assert_eq!((&anomaly.seen, &anomaly.shown), (&seen, &fork.checkpoint()));
    assert!(accept_log(&state, " ").unwrap_err().contains("reason"));

    let accepted = accept_log(&state, "restored").unwrap();
    assert_eq!((&accepted.key, &accepted.anomaly), (&None, &None));
    let [former] = &*accepted.former else { panic!("{accepted:?}") };
    assert_eq!((&*former.because, &*former.key), ("restored", &*log.vkey()));
    assert_eq!((&former.checkpoint, &former.anomaly), (&Some(seen), &Some(anomaly)));
    assert!(former.until >= NOW);

    // One that runs on the file follows, and forgets nothing of what it knew before.
    let forked = fork.proof(3);
    running.verify_with_proof(&other, &forked).unwrap();
    assert_eq!(running.log_health().unwrap().anomaly, None);
    drop(running);
    let record = log_record(&state).unwrap();
    assert_eq!((record.checkpoint, record.former), (Some(fork.checkpoint()), accepted.former));
    let again = verifier(&fork, &state);
    assert_eq!(again.verify(&other).unwrap().state(), LicenseState::Valid);
    assert_refused(again.verify(&token()), ProofMissing);
    drop(again);

    // The accepted log must stay consistent, too.
    let mut third = seen_log;
    third.add("other");
    let (other, checkpoint) = (file(1, &fork), file(2, &third));
    let again = verifier(&fork, &state);
    again.import(&other).unwrap();
    assert_not_taken(again.import(&checkpoint), SplitView);
    drop(again);
    accept_log(&state, "again").unwrap();
    let reasons: Vec<_> =
        log_record(&state).unwrap().former.into_iter().map(|former| former.because).collect();
    assert_eq!(reasons, ["restored", "again"]);
}

/// A refresh file with the log's checkpoint.
fn file(seq: i64, log: &Log) -> String {
    let mut claims = file_claims(seq, &[&KEY]);
    claims["checkpoint"] = json!(log.checkpoint());
    KEY.file(&claims)
}

#[test]
fn record_under_another_key_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let mut log = Log::of(3);
    drop(split(&mut log, &state));
    let before = log_record(&state).unwrap();

    let mut another = Log::of(7);
    let index = another.issue(&token());
    let moved = verifier(&another, &state);
    moved.verify_with_proof(&token(), &another.proof(index)).unwrap();
    drop(moved);
    let after = log_record(&state).unwrap();
    assert_eq!((after.key, after.size, after.anomaly), (Some(another.vkey()), Some(8), None));
    let [former] = &*after.former else { panic!("{:?}", after.former) };
    assert_eq!((&former.checkpoint, &former.anomaly), (&before.checkpoint, &before.anomaly));
    assert!(former.because.contains(&another.vkey()), "{former:?}");

    // The key of before does not come back by an old setting, until the operator says so.
    let old = || {
        let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
        builder(&log).jwks(jwks).state_path(&state).build()
    };
    let refused = old().unwrap_err().to_string();
    assert!(refused.contains(&format!("{} replaced", another.vkey())), "{refused}");
    accept_log(&state, "the old key is the right one").unwrap();
    old().unwrap().import(&file(1, &log)).unwrap();
    assert_eq!(log_record(&state).unwrap().key, Some(log.vkey()));
}

/// An app that goes on with the old key while another process was given the new one.
#[test]
fn log_key_that_was_replaced_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let (log, another) = (Log::of(3), Log::of(7));
    let app = verifier(&log, &state);
    app.import(&file(1, &log)).unwrap();
    let newer = verifier(&another, &state);
    newer.import(&file(2, &another)).unwrap();
    assert_not_taken(app.import(&file(3, &log)), ProofInvalid);
    drop((app, newer));
    let record = log_record(&state).unwrap();
    assert_eq!((record.key, record.former.len()), (Some(another.vkey()), 1));
}
