//! V1–V6: the checks before the claims.

use dp_verifier::ErrorCode::{
    AlgNotAllowed, KidMissing, KidUnknown, SignatureInvalid, TokenMalformed, TokenMissing,
    TokenTooLarge, TypWrong,
};
use serde_json::{Value, json};

use crate::support::*;

fn good() -> String {
    KEY.token(&claims())
}

fn parts(token: &str) -> [String; 3] {
    token.split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn a_token_has_at_most_16_kib() {
    let padded = |size: usize| {
        let bare = KEY.token(&claims_with("/pad", json!(""))).len();
        // Three bytes more are four characters more.
        let fill = (size - bare) / 4 * 3;
        (0..8)
            .map(|more| KEY.token(&claims_with("/pad", json!("x".repeat(fill + more)))))
            .rfind(|token| token.len() <= size)
            .unwrap()
    };
    let largest = padded(16 * 1024);
    assert!(largest.len() > 16 * 1024 - 3);
    verify(&largest).unwrap();
    assert_refused(verify(&padded(16 * 1024 + 4)), TokenTooLarge);
    assert_refused(verify(&"x".repeat(16 * 1024)), TokenMalformed);
    assert_refused(verify(&"x".repeat(16 * 1024 + 1)), TokenTooLarge);
    assert_refused(verify(&".".repeat(10_000_000)), TokenTooLarge);
}

#[test]
fn a_header_segment_has_at_most_1_kib() {
    let header = |size: usize| {
        let bare = header_with("x", json!("")).len();
        header_with("x", json!("x".repeat(size / 4 * 3 - bare)))
    };
    verify_header(header(1_024)).unwrap();
    assert_refused(verify_header(header(1_028)), TokenTooLarge);
}

#[test]
fn a_key_name_has_at_most_128_bytes() {
    let key = |length: usize| {
        let mut jwk = KEY.jwk();
        jwk["kid"] = json!("k".repeat(length));
        let set = json!({ "keys": [jwk] }).to_string();
        dp_verifier::KeySet::from_json(set.as_bytes())
    };
    assert_eq!(key(128).unwrap().len(), 1);
    assert!(key(129).is_err());
    assert!(key(0).is_err());
    assert_refused(verify_header(header_with("kid", json!("k".repeat(129)))), KidUnknown);
}

#[test]
fn only_three_canonical_segments() {
    let token = good();
    let [header, payload, signature] = parts(&token);
    for malformed in [
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}\r"),
        format!("\u{feff}{token}"),
        format!("Bearer {token}"),
        format!("\"{token}\""),
        format!("{token}="),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}.{payload}.{}", &signature[..signature.len() - 1]),
        format!("{header}. {payload}.{signature}"),
        format!("{header}.{}\u{0}.{signature}", payload),
        token.replace('.', ".\n"),
        token.replace('.', "%2E"),
        token.replace('.', "。"),
        "..".to_owned(),
        ".".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        json!({ "protected": header, "payload": payload, "signature": signature }).to_string(),
    ] {
        assert_refused(verify(&malformed), TokenMalformed);
    }
    assert_refused(verify(""), TokenMissing);
}

#[test]
fn base64url_has_one_spelling() {
    // 256 bytes of signature leave four unused bits in the last character: set each of them.
    let token = good();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let value = alphabet.iter().position(|c| *c == last.as_bytes()[0]).unwrap();
    for bits in 1..16 {
        let spelling = format!("{rest}{}", char::from(alphabet[value ^ bits]));
        assert_refused(verify(&spelling), TokenMalformed);
    }
    let standard = token.replace('-', "+").replace('_', "/");
    assert_refused(verify(&standard), TokenMalformed);
}

#[test]
fn the_first_check_that_fails_decides() {
    let [header, payload, _] = parts(&good());
    let no_signature = "A".repeat(342);
    let with_header =
        |header: Value| format!("{}.{payload}.{no_signature}", base64url(header.to_string()));
    // Each line has the faults of all lines below it.
    let cases = [
        (TokenTooLarge, format!("{}!", with_header(json!({ "alg": "none" })).repeat(20))),
        (TokenMalformed, format!("{}!", with_header(json!({ "alg": "none" })))),
        (AlgNotAllowed, with_header(json!({ "alg": "none", "typ": "JWT", "crit": [] }))),
        (TypWrong, with_header(json!({ "alg": "RS256", "typ": "JWT", "crit": [] }))),
        (TokenMalformed, with_header(json!({ "alg": "RS256", "typ": "license+jwt", "crit": [] }))),
        (KidMissing, with_header(json!({ "alg": "RS256", "typ": "license+jwt" }))),
        (KidUnknown, with_header(json!({ "alg": "RS256", "typ": "license+jwt", "kid": "?" }))),
        (SignatureInvalid, format!("{header}.{payload}.{no_signature}")),
        // The payload is no JSON, and is not read before the signature holds.
        (SignatureInvalid, format!("{header}.AAAA.{no_signature}")),
    ];
    for (code, token) in cases {
        assert_refused(verify(&token), code);
    }
}

#[test]
fn the_algorithm_is_rs256_and_nothing_else() {
    for alg in [
        json!("none"),
        json!("None"),
        json!(""),
        json!("HS256"),
        json!("RS384"),
        json!("RS512"),
        json!("PS256"),
        json!("ES256"),
        json!("EdDSA"),
        json!("rs256"),
        json!("RS256 "),
        json!("RS256\u{0}"),
        json!(["RS256"]),
        json!({ "alg": "RS256" }),
        json!(256),
        json!(true),
        Value::Null,
    ] {
        assert_refused(verify_header(header_with("alg", alg)), AlgNotAllowed);
    }
    assert_refused(verify_header(header_with("alg", None)), AlgNotAllowed);
}

#[test]
fn headers_that_redirect_a_reader_are_refused() {
    for name in ["crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "zip", "enc", "cty"]
    {
        for value in [json!("https://evil.example/"), json!([]), json!(false), Value::Null] {
            assert_refused(verify_header(header_with(name, value)), TokenMalformed);
        }
    }
    verify_header(header_with("x-trace", json!({ "a": [1] }))).unwrap();
    verify_header(header_with("Crit", json!(["exp"]))).unwrap();
}

#[test]
fn the_header_is_a_strict_object() {
    for header in [
        r#"{"alg":"RS256","alg":"RS256","typ":"license+jwt","kid":"key-1"}"#,
        r#"{"alg":"none","\u0061lg":"RS256","typ":"license+jwt","kid":"key-1"}"#,
        r#"{"alg":"RS256","typ":"license+jwt","kid":"key-1","x":1,"x":1}"#,
        r#"{"alg":"RS256","typ":"license+jwt","kid":"key-1"} x"#,
        r#"{"alg":"RS256","typ":"license+jwt","kid":"key-1",}"#,
        r#"{"alg":"RS256","typ":"license+jwt","kid":"key-1""#,
        r#"["RS256","license+jwt","key-1"]"#,
        r#""RS256""#,
        "null",
        "\u{feff}{}",
    ] {
        assert_refused(verify_header(header), TokenMalformed);
    }
    let not_utf8 = b"{\"alg\":\"RS256\",\"typ\":\"license+jwt\",\"kid\":\"key-1\",\"x\":\"\xff\"}";
    assert_refused(verify_header(not_utf8), TokenMalformed);
    verify_header(r#" { "kid" : "key-1", "typ":"license+jwt","\u0061lg":"RS256" } "#).unwrap();
}

#[test]
fn typ_is_a_media_type() {
    for typ in ["license+jwt", "LICENSE+JWT", "application/license+jwt", "Application/License+JWT"]
    {
        verify_header(header_with("typ", json!(typ))).unwrap();
    }
    for typ in [
        json!("JWT"),
        json!("at+jwt"),
        json!("statuslist+jwt"),
        json!("application/"),
        json!("application/application/license+jwt"),
        json!("text/license+jwt"),
        json!("license+jwt "),
        json!("license+jwt; v=1"),
        json!(""),
        json!(["license+jwt"]),
        Value::Null,
    ] {
        assert_refused(verify_header(header_with("typ", typ)), TypWrong);
    }
    assert_refused(verify_header(header_with("typ", None)), TypWrong);
}

#[test]
fn a_key_is_found_by_its_exact_name_only() {
    for kid in [json!(1), Value::Null, json!([]), json!("")] {
        assert_refused(verify_header(header_with("kid", kid)), KidMissing);
    }
    assert_refused(verify_header(header_with("kid", None)), KidMissing);
    for kid in ["KEY-1", "key-1 ", "key", "../key-1", "key-1\u{0}", "' OR 1=1"] {
        assert_refused(verify_header(header_with("kid", json!(kid))), KidUnknown);
    }
    // The other key is in the set, but it is not the named one.
    assert_refused(verify_header(header_with("kid", json!("key-2"))), SignatureInvalid);
    verify(&OTHER_KEY.token(&claims())).unwrap();
}

#[test]
fn signature_covers_exactly_this_text() {
    let [header, payload, signature] = parts(&good());
    let [_, other_payload, _] = parts(&KEY.token(&claims_with("/license/seat_cap", json!(51))));
    assert_refused(verify(&format!("{header}.{other_payload}.{signature}")), SignatureInvalid);
    let message = format!("{header}.{payload}");
    let genuine = KEY.signature(&message);
    let altered = |alter: &dyn Fn(&mut Vec<u8>)| {
        let mut signature = genuine.clone();
        alter(&mut signature);
        verify(&format!("{message}.{}", base64url(signature)))
    };
    assert_refused(altered(&|s| s.push(0)), SignatureInvalid);
    assert_refused(altered(&|s| s.insert(0, 0)), SignatureInvalid);
    assert_refused(altered(&|s| s.truncate(255)), SignatureInvalid);
    assert_refused(altered(&|s| s.fill(0)), SignatureInvalid);
    assert_refused(altered(&|s| *s = KEY.n()), SignatureInvalid);
    assert_refused(altered(&|s| s[255] ^= 1), SignatureInvalid);
    assert_refused(altered(&|s| s.truncate(1)), SignatureInvalid);
}
