//! V16: codes are stable, texts are safe.

use std::collections::HashSet;

use dp_verifier::{ErrorCode, Verifier};
use serde_json::json;

use crate::support::*;

#[test]
fn the_codes_are_these() {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let stable = "token_missing token_malformed token_too_large alg_not_allowed kid_missing \
        kid_unknown key_withdrawn signature_invalid typ_wrong issuer_wrong audience_wrong expired not_yet_valid \
        claims_invalid contract_unsupported revoked suspended status_stale keys_unavailable \
        clock_anomaly replayed other_license state_unwritable proof_missing not_logged \
        proof_invalid log_rolled_back split_view lease_over lease_expired holder_mismatch \
        pool_unknown license_mismatch";
    assert_eq!(codes, stable.split_whitespace().collect::<Vec<_>>());
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len());
    for code in ErrorCode::ALL {
        assert!([401, 403, 503].contains(&code.http_status()), "{code}");
        assert!(code.advice().ends_with('.'), "{code}");
        assert_eq!(json!(code), json!(code.as_str()));
    }
}

/// Every code, by something that is refused with it.
#[test]
fn every_code_has_a_cause() {
    let token = |pointer: &str, value| verify_claims(&claims_with(pointer, value));
    let by_list = |claims: serde_json::Value, status| {
        let verifier = verifier(&json!({ "keys": [KEY.jwk()] }));
        verifier.import_status_list(&KEY.list(&list_claims(NOW, status))).unwrap();
        verifier.verify(&KEY.token(&claims))
    };
    let builder = || Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW);
    let keys = || builder().jwks(json!({ "keys": [KEY.jwk()] }).to_string());
    let strict = keys().time_floor(NOW + 301).strict_clock().build().unwrap();
    let mut codes: Vec<ErrorCode> = [
        verify(""),
        verify("x"),
        verify(&"x".repeat(20_000)),
        verify_header(header_with("alg", json!("none"))),
        verify_header(header_with("kid", None)),
        verify_header(header_with("kid", json!("key-9"))),
        verify(&Key::new("key-1").token(&claims())),
        verify_header(header_with("typ", json!("JWT"))),
        token("/iss", json!("x")),
        token("/aud", json!("x")),
        token("/exp", json!(NOW - 60)),
        token("/nbf", json!(NOW + 61)),
        token("/sub", json!("x")),
        token("/contract", json!("3.0.0")),
        by_list(claims(), 1),
        by_list(claims(), 2),
        verify_claims(&claims_on_stale("block")),
        strict.verify(&KEY.token(&claims())),
    ]
    .into_iter()
    .map(|refused| refused.unwrap_err().code())
    .collect();
    #[cfg(feature = "fetch")]
    {
        let unreachable = builder().jwks_url("http://127.0.0.1:1/").build().unwrap();
        codes.push(unreachable.verify(&KEY.token(&claims())).unwrap_err().code());
    }
    #[cfg(not(feature = "fetch"))]
    codes.push(ErrorCode::KeysUnavailable);
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let kept = keys().state_path(&state).time_floor(NOW).build().unwrap();
    let file = |seq| KEY.file(&file_claims(seq, &[&KEY]));
    let mut other = file_claims(9, &[&KEY]);
    other["license_id"] = json!("018f2a00-0000-7000-8000-00000000ffff");
    kept.import(&file(1)).unwrap();
    codes.push(kept.import(&file(1)).unwrap_err().code());
    codes.push(kept.import(&KEY.file(&other)).unwrap_err().code());
    let withdraws_other = file_claims(2, &[&KEY]);
    let mut has_other = file_claims(1, &[&KEY, &OTHER_KEY]);
    has_other["key_chain"] = json!([KEY.endorse(&OTHER_KEY)]);
    let withdrawing = keys().build().unwrap();
    withdrawing.import(&KEY.file(&has_other)).unwrap();
    withdrawing.import(&KEY.file(&withdraws_other)).unwrap();
    codes.push(withdrawing.verify(&OTHER_KEY.token(&claims())).unwrap_err().code());
    write_private(&state, "{");
    codes.push(kept.import(&file(2)).unwrap_err().code());
    // The codes of the log and of leases have tests of their own.
    codes.extend(ErrorCode::ALL.iter().rev().take(10));
    let caused: HashSet<ErrorCode> = codes.into_iter().collect();
    assert_eq!(caused, ErrorCode::ALL.iter().copied().collect());
}

#[test]
fn messages_quote_little_and_escape_it() {
    let secret = "s3cr3t".repeat(100);
    let nasty = format!("\u{1b}[2J\r\n{secret}");
    let refusals = [
        verify(&secret),
        verify(&KEY.token(&claims_with("/iss", json!(nasty)))),
        verify(&KEY.token(&claims_with("/aud", json!(nasty)))),
        verify(&KEY.token(&claims_with("/sub", json!(nasty)))),
        verify(&KEY.token(&claims_with("/license/deployment/id", json!(nasty)))),
        verify(&KEY.token(&claims_with("/contract", json!(format!("3.0.0-{secret}"))))),
        verify_header(header_with("alg", json!(nasty))),
        verify_header(header_with("typ", json!(nasty))),
        verify_header(header_with("kid", json!(nasty))),
        verify_header(header_with("crit", json!([nasty]))),
        verify_payload(nasty.as_bytes()),
        verify_payload(format!("{{\"{secret}\":1,\"{secret}\":2}}")),
    ];
    for refusal in refusals {
        let refused = refusal.unwrap_err();
        for text in [refused.to_string(), format!("{refused:?}")] {
            assert!(!text.contains(&secret[..70]), "{text}");
            assert!(text.len() < 300, "{text}");
        }
        assert!(!refused.to_string().contains(char::is_control), "{refused}");
    }
}
