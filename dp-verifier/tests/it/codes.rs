//! V16: codes are stable, texts are safe.

use std::collections::HashSet;

use dp_verifier::ErrorCode;
use serde_json::json;

use crate::support::*;

#[test]
fn v16_the_codes_are_these() {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let stable = "token_missing token_malformed token_too_large alg_not_allowed kid_missing \
        kid_unknown signature_invalid typ_wrong issuer_wrong audience_wrong expired not_yet_valid \
        claims_invalid contract_unsupported revoked suspended status_stale keys_unavailable \
        clock_anomaly";
    assert_eq!(codes, stable.split_whitespace().collect::<Vec<_>>());
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len());
    for code in ErrorCode::ALL {
        assert!([401, 403, 503].contains(&code.http_status()), "{code}");
        assert!(code.advice().ends_with('.'), "{code}");
        assert_eq!(json!(code), json!(code.as_str()));
    }
}

#[test]
fn v16_messages_quote_little_and_escape_it() {
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
