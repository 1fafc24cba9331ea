//! Vectors of proofs that a token is in the issuer's log.

use dp_verifier::ErrorCode::{Expired, ProofInvalid, ProofMissing, SplitView};
use dp_verifier::LicenseState::{LogAnomaly, Valid};
use serde_json::{Value, json};

use super::documents::with;
use super::vector::{Vector, in_state, refusal};
use crate::log::Log;
use crate::support::*;

fn vector(name: &str, log: &Log) -> Vector {
    Vector::new(name, "").set("log_key", log.vkey())
}

/// A refresh file with the log's checkpoint, and the proof that it extends the first `from` entries.
fn file(seq: i64, log: &Log, from: u64) -> String {
    let consistency = json!(format!("old {from}\n{}", log.consistency(from)));
    let claims = with(file_claims(seq, &[&KEY]), "checkpoint", json!(log.checkpoint()));
    KEY.file(&with(claims, "consistency", consistency))
}

pub(super) fn vectors() -> Vec<Vector> {
    let token = KEY.token(&claims());
    let mut log = Log::of(3);
    let index = log.issue(&token);
    log.add("noise");
    let proof = log.proof(index);
    let altered = |from: &str, to: &str| proof.replacen(from, to, 1);
    let first_hash = proof.lines().nth(3).unwrap();
    let admitted = |vector: Vector| {
        vector.verifies_with_proof(&token, &proof, with(in_state(Valid), "log_index", json!(3)))
    };
    let invalid = |name: &str, token: &str, proof: &str| {
        vector(name, &log).verifies_with_proof(token, proof, refusal(ProofInvalid))
    };
    let mut more_seats = claims();
    more_seats["license"]["seat_cap"] = json!(9_999);
    let forged = KEY.token(&more_seats);
    let (expired, expired_proof) = {
        let token = KEY.token(&claims_with("/exp", json!(NOW - 60)));
        let mut log = log.clone();
        let index = log.issue(&token);
        (token, log.proof(index))
    };
    let bare: Value = in_state(Valid);
    vec![
        vector("missing_proof_is_refused", &log).refuses(&token, ProofMissing),
        vector("missing_proof_is_allowed_by_a_setting", &log)
            .set("allow_unlogged", true)
            .admits(&token, Valid),
        admitted(vector("proved_token_is_admitted", &log))
            .about("The verifier keeps the proof.")
            .admits(&token, Valid),
        admitted(vector("proof_survives_a_restart", &log).set("state_file", true))
            .restarts()
            .admits(&token, Valid),
        admitted(vector("proved_token_proves_no_other_with_its_id", &log))
            .refuses(&forged, ProofInvalid),
        admitted(vector("log_key_survives_a_restart", &log).set("state_file", true))
            .restarts()
            .refuses(
                KEY.token(&claims_with("/jti", json!("018f2a00-0000-7000-8000-00000000ffff"))),
                ProofMissing,
            ),
        invalid("proof_of_another_token_is_refused", &forged, &proof),
        invalid("proof_of_another_key_is_refused", &OTHER_KEY.token(&claims()), &proof),
        invalid("proof_of_another_log_is_refused", &token, &Log::of(5).proof(3)),
        invalid(
            "proof_with_another_index_is_refused",
            &token,
            &altered("\nindex 3\n", "\nindex 2\n"),
        ),
        invalid(
            "proof_without_a_hash_is_refused",
            &token,
            &altered(&format!("{first_hash}\n"), ""),
        ),
        invalid("proof_of_another_size_is_refused", &token, &altered("\n5\n", "\n6\n")),
        invalid("proof_of_another_version_is_refused", &token, &altered("@v1", "@v2")),
        invalid("empty_proof_is_refused", &token, ""),
        Vector::new("proof_without_a_log_key_is_refused", "").verifies_with_proof(
            &token,
            &proof,
            refusal(ProofInvalid),
        ),
        vector("proved_token_can_be_expired", &log).verifies_with_proof(
            &expired,
            &expired_proof,
            refusal(Expired),
        ),
        Vector::new("log_key_of_another_form_is_refused", "")
            .set("log_key", "cp.example+00000000+AA")
            .refuses_settings(None),
        fork(&token, bare),
    ]
}

/// A log that shows two histories.
fn fork(token: &str, admitted: Value) -> Vector {
    let mut log = Log::of(3);
    let index = log.issue(token);
    let mut fork = Log::of_same_key(&log);
    (0..9).for_each(|_| fork.add("other"));
    vector("second_history_of_the_log_is_refused", &log)
        .set("state_file", true)
        .verifies_with_proof(token, &log.proof(index), admitted)
        .takes_file(file(1, &log, 4))
        .refuses_file(file(2, &fork, 4), SplitView)
        .admits(token, LogAnomaly)
        .about("A license with a proof stays admitted, in the state `log_anomaly`.")
}
