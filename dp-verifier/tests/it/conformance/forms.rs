//! Vectors of the form of a token: everything before its claims.

use dp_verifier::ErrorCode::{
    AlgNotAllowed, KidMissing, KidUnknown, SignatureInvalid, TokenMalformed, TokenMissing,
    TokenTooLarge, TypWrong,
};
use dp_verifier::LicenseState::Valid;
use ring::hmac;
use serde_json::json;

use super::vector::Vector;
use crate::support::*;

fn token() -> String {
    KEY.token(&claims())
}

/// The golden claims under a header.
fn under(header: impl AsRef<[u8]>) -> String {
    KEY.sign(header, claims().to_string())
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = vec![
        Vector::admitted("genuine_token_is_admitted", token(), Valid).expects("license", json!({
            "seat_cap": 50, "token_id": claims()["jti"], "license_id": claims()["license"]["license_id"],
            "organization": { "name": "Acme GmbH", "slug": "acme" }, "plan": { "code": "enterprise" },
            "features": { "alerts_enabled": true, "exports_enabled": false },
            "expires_at": "2026-01-31T00:00:00Z",
        })),
        Vector::new("other_key_of_the_set_is_admitted", "")
            .admits(OTHER_KEY.token(&claims()), Valid),
        Vector::new("cached_token_is_admitted_again", "The second check may use a cache.")
            .admits(token(), Valid)
            .admits(token(), Valid),
        Vector::refused("empty_token_is_missing", "", TokenMissing),
        Vector::refused("token_over_16_kib_is_too_large", "x".repeat(16 * 1_024 + 1), TokenTooLarge),
        Vector::refused(
            "header_over_1_kib_is_too_large",
            under(header_with("x", json!("x".repeat(1_024)))),
            TokenTooLarge,
        ),
    ];
    all.extend(segments());
    all.extend(headers());
    all.extend(algorithms());
    all.extend(types_and_keys());
    all.extend(signatures());
    all
}

fn segments() -> Vec<Vector> {
    let token = token();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    // The last character of 256 bytes has 4 unused bits.
    let unused_bits = {
        let last = signature.chars().last().unwrap();
        let next = char::from(u8::try_from(last).unwrap() + 1);
        format!("{message}.{}{next}", &signature[..signature.len() - 1])
    };
    let bad = [
        ("random_text", "x".to_owned()),
        ("one_segment", header.to_owned()),
        ("two_segments", message.to_owned()),
        ("four_segments", format!("{token}.{signature}")),
        ("five_segments_as_in_jwe", format!("{token}.{signature}.{signature}")),
        ("empty_header", format!(".{payload}.{signature}")),
        ("padding", format!("{token}==")),
        ("trailing_line_end", format!("{token}\n")),
        ("leading_space", format!(" {token}")),
        ("bearer_prefix", format!("Bearer {token}")),
        ("standard_base64_alphabet", format!("{message}.+/{}", &signature[2..])),
        ("unused_bits", unused_bits),
    ];
    let vector = |(name, token): (&str, String)| {
        Vector::refused(&format!("token_with_{name}_is_malformed"), token, TokenMalformed)
    };
    bad.into_iter().map(vector).collect()
}

fn headers() -> Vec<Vector> {
    let good = KEY.header().to_string();
    let bad = [
        ("no_json", "{".to_owned()),
        ("an_array", json!(["RS256"]).to_string()),
        ("duplicate_alg", good.replacen('{', r#"{"alg":"none","#, 1)),
        ("duplicate_kid", good.replacen('{', r#"{"kid":"key-2","#, 1)),
        ("duplicate_nested_member", good.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1)),
        ("duplicate_escaped_member", good.replacen('{', r#"{"\u0061lg":"RS256","#, 1)),
        ("trailing_text", format!("{good} x")),
        ("byte_order_mark", format!("\u{feff}{good}")),
        ("crit", header_with("crit", json!(["exp"]))),
        ("empty_crit", header_with("crit", json!([]))),
        ("b64", header_with("b64", json!(false))),
        ("jku", header_with("jku", json!("https://cp.example/jwks.json"))),
        ("jwk", header_with("jwk", KEY.jwk())),
        ("x5u", header_with("x5u", json!("https://cp.example/cert.pem"))),
        ("x5c", header_with("x5c", json!(["MII"]))),
        ("x5t", header_with("x5t", json!("AA"))),
        ("x5t_s256", header_with("x5t#S256", json!("AA"))),
        ("zip", header_with("zip", json!("DEF"))),
        ("enc", header_with("enc", json!("A256GCM"))),
        ("cty", header_with("cty", json!("JWT"))),
    ];
    let vector = |(name, header): (&str, String)| {
        Vector::refused(&format!("header_with_{name}_is_malformed"), under(header), TokenMalformed)
    };
    let unknown = under(header_with("later", json!({ "a": [1] })));
    let admitted = Vector::admitted("header_with_unknown_member_is_admitted", unknown, Valid);
    bad.into_iter().map(vector).chain([admitted]).collect()
}

fn algorithms() -> Vec<Vector> {
    let header = |alg: &str| header_with("alg", json!(alg));
    let unsigned = format!("{}.{}.", base64url(header("none")), base64url(claims().to_string()));
    // The confusion of a public key with a secret: HMAC with the modulus.
    let message = format!("{}.{}", base64url(header("HS256")), base64url(claims().to_string()));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &KEY.n());
    let mac = base64url(hmac::sign(&secret, message.as_bytes()));
    let mut all = vec![
        Vector::refused("alg_none_without_signature_is_malformed", unsigned, TokenMalformed),
        Vector::refused("alg_none_with_signature_is_refused", under(header("none")), AlgNotAllowed),
        Vector::refused(
            "alg_hs256_by_the_public_key_is_refused",
            format!("{message}.{mac}"),
            AlgNotAllowed,
        ),
        Vector::refused("alg_missing_is_refused", under(header_with("alg", None)), AlgNotAllowed),
    ];
    for alg in ["None", "NONE", "rs256", "RS384", "RS512", "PS256", "ES256", "EdDSA", ""] {
        let name = if alg.is_empty() { "empty" } else { alg };
        let name = format!("alg_{name}_is_refused");
        all.push(Vector::refused(&name, under(header(alg)), AlgNotAllowed));
    }
    all
}

fn types_and_keys() -> Vec<Vector> {
    let typ = |typ: &str| KEY.signed(typ, &claims());
    let by_foreign = KEY.sign(header_with("kid", json!("key-2")), claims().to_string());
    vec![
        Vector::refused("typ_missing_is_refused", under(header_with("typ", None)), TypWrong),
        Vector::refused("typ_jwt_is_refused", typ("JWT"), TypWrong),
        Vector::refused("typ_at_jwt_is_refused", typ("at+jwt"), TypWrong),
        Vector::refused("typ_of_a_status_list_is_refused", typ("statuslist+jwt"), TypWrong),
        Vector::refused("typ_of_a_license_file_is_refused", typ("license-file+jwt"), TypWrong),
        Vector::refused("typ_of_a_lease_is_refused", typ("lease+jwt"), TypWrong),
        Vector::refused("kid_missing_is_refused", under(header_with("kid", None)), KidMissing),
        Vector::refused(
            "kid_unknown_is_refused",
            under(header_with("kid", json!("key-9"))),
            KidUnknown,
        ),
        Vector::refused(
            "kid_in_other_case_is_refused",
            under(header_with("kid", json!("KEY-1"))),
            KidUnknown,
        ),
        Vector::refused(
            "kid_with_space_is_refused",
            under(header_with("kid", json!("key-1 "))),
            KidUnknown,
        ),
        Vector::refused("kid_of_another_key_is_refused", by_foreign, SignatureInvalid)
            .about("The verifier uses exactly the named key, and tries no other."),
    ]
}

fn signatures() -> Vec<Vector> {
    let token = token();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let mut more = claims();
    more["license"]["seat_cap"] = json!(9_999);
    let altered = format!("{header}.{}.{signature}", base64url(more.to_string()));
    let flipped = {
        let first = if signature.starts_with('A') { "B" } else { "A" };
        format!("{message}.{first}{}", &signature[1..])
    };
    let short = base64url(&KEY.signature(message)[..255]);
    vec![
        Vector::refused("altered_claims_are_refused", altered, SignatureInvalid),
        Vector::refused("altered_signature_is_refused", flipped, SignatureInvalid),
        Vector::refused(
            "short_signature_is_refused",
            format!("{message}.{short}"),
            SignatureInvalid,
        ),
        Vector::refused("empty_signature_is_malformed", format!("{message}."), TokenMalformed),
        Vector::refused(
            "foreign_key_of_the_same_kid_is_refused",
            Key::new("key-1").token(&claims()),
            SignatureInvalid,
        ),
        Vector::new(
            "forged_token_after_a_genuine_one_is_refused",
            "A cache must compare the whole token.",
        )
        .admits(token.clone(), Valid)
        .refuses(format!("{message}.{}", base64url([7; 256])), SignatureInvalid),
    ]
}
