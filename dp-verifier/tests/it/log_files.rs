//! The log of license files: whether one goes on from the one before.

use std::path::Path;

use dp_verifier::ErrorCode::SplitView;
use dp_verifier::Verifier;
use serde_json::{Value, json};

use crate::log::{Log, builder};
use crate::support::*;

/// A refresh file with the log's checkpoint, and what proves that it goes on.
fn file(seq: i64, log: &Log, consistency: Option<String>) -> String {
    let mut claims = file_claims(seq, &[&KEY]);
    claims["checkpoint"] = json!(log.checkpoint());
    claims["consistency"] = json!(consistency);
    if claims["consistency"] == Value::Null {
        claims.as_object_mut().unwrap().remove("consistency");
    }
    KEY.file(&claims)
}

/// That a log goes on from its first so many entries.
fn from(log: &Log, old: u64) -> Option<String> {
    Some(format!("old {old}\n{}", log.consistency(old)))
}

fn verifier(log: &Log, state: &Path) -> Verifier {
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    builder(log).jwks(jwks).state_path(state).build().unwrap()
}

fn grown(log: &Log, entry: &str, times: usize) -> Log {
    let mut log = log.clone();
    (0..times).for_each(|_| log.add(entry));
    log
}

#[test]
fn another_history_in_the_next_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::of(4);
    let later = grown(&log, "noise", 3);
    let fork = grown(&grown(&log, "other", 1), "noise", 5);
    let verifier = verifier(&log, &dir.path().join("state.json"));
    verifier.import(&file(1, &log, None)).unwrap();
    verifier.import(&file(2, &later, from(&later, 4))).unwrap();
    // The same log, reported twice.
    verifier.import(&file(3, &later, from(&later, 7))).unwrap();
    assert_not_taken(verifier.import(&file(4, &fork, from(&fork, 7))), SplitView);
    let anomaly = verifier.log_health().unwrap().anomaly.unwrap();
    assert_eq!(
        (anomaly.seen.text(), anomaly.shown.text()),
        (&*later.checkpoint(), &*fork.checkpoint())
    );
}

#[test]
fn file_without_a_proof_is_no_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::of(4);
    let later = grown(&log, "noise", 3);
    let last = grown(&later, "noise", 3);
    let verifier = verifier(&log, &dir.path().join("state.json"));
    verifier.import(&file(1, &later, None)).unwrap();
    // From an earlier report; garbage; an older file, whose checkpoint is older than the seen one.
    for (seq, (log, consistency)) in (2..).zip([
        (&last, from(&last, 4)),
        (&last, Some("old 10\nx\n".to_owned())),
        (&last, Some("10".to_owned())),
        (&last, None),
        (&log, Some(format!("old 10\n{}", log.consistency(4)))),
    ]) {
        verifier.import(&file(seq, log, consistency)).unwrap();
        assert_eq!(verifier.log_health().unwrap().anomaly, None);
    }
    assert_eq!(verifier.log_health().unwrap().checkpoint.unwrap().size(), 10);
}
