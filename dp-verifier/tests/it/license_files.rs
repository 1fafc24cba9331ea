//! License files: whose word they are, and what they change.

use std::path::Path;

use dp_verifier::ErrorCode::{
    AlgNotAllowed, ClaimsInvalid, ContractUnsupported, IssuerWrong, KeyWithdrawn, KidUnknown,
    NotYetValid, OtherLicense, Replayed, SignatureInvalid, Suspended, TokenMalformed,
    TokenTooLarge, TypWrong,
};
use dp_verifier::LicenseState::{Stale, Valid};
use dp_verifier::{BuildError, ErrorCode, Verifier, VerifierBuilder};
use serde_json::{Value, json};

use crate::support::*;

fn builder() -> VerifierBuilder {
    Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW)
}

/// A verifier that was given [`KEY`].
fn verifier() -> Verifier {
    crate::support::verifier(&json!({ "keys": [KEY.jwk()] }))
}

/// Starts with a file beside what else is set.
fn start(builder: VerifierBuilder, text: impl AsRef<[u8]>) -> Result<Verifier, BuildError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("license.lic");
    std::fs::write(&path, text).unwrap();
    builder.bundle_file(&path).build()
}

#[track_caller]
fn assert_not_started(refused: Result<Verifier, BuildError>, code: ErrorCode) {
    match refused.unwrap_err() {
        BuildError::BundleRefused { path, error } => {
            assert_eq!(error.code(), code, "{error}");
            assert_eq!(path.file_name().unwrap(), "license.lic");
        }
        other => panic!("{other}"),
    }
}

/// A file with a token that must have a status, and a status list.
fn bundle_claims(seq: i64, key: &Key) -> Value {
    let mut claims = file_claims(seq, &[key]);
    claims["token"] = json!(key.token(&claims_on_stale("block")));
    claims["status_list"] = json!(key.list(&list_claims(NOW - 50 + seq, 0)));
    claims
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[test]
fn a_bundle_file_has_all_that_a_data_plane_needs() {
    let claims = with(bundle_claims(1, &KEY), "later", json!([1]));
    for end in ["", "\n", "\r\n"] {
        let verifier = start(builder(), KEY.file(&claims) + end).unwrap();
        let token = verifier.bundled_token().unwrap();
        let license = verifier.verify(&token).unwrap();
        assert_eq!((license.seat_cap(), license.state()), (50, Valid));
        assert_eq!(verifier.time_floor(), NOW - 49);
        assert_eq!(verifier.status_lists()[0].issued_at, NOW - 49);
    }
    let only_keys = start(builder(), KEY.file(&file_claims(1, &[&KEY]))).unwrap();
    assert_eq!(only_keys.bundled_token(), None);
    only_keys.verify(&token()).unwrap();
}

fn token() -> String {
    KEY.token(&claims())
}

#[test]
fn imported_file_returns_its_content() {
    let verifier = verifier();
    let taken = verifier.import(&KEY.file(&bundle_claims(7, &KEY))).unwrap();
    assert_eq!(
        serde_json::to_value(&taken).unwrap(),
        json!({
            "seq": 7, "license_id": claims()["license"]["license_id"],
            "deployment_id": claims()["sub"], "issued_at": NOW - 93, "has_token": true,
            "status_list": {
                "uri": LIST, "issued_at": NOW - 43, "expires_at": NOW - 43 + 86_400, "ttl": 300,
            },
        })
    );
    let taken = verifier.import(&KEY.file(&file_claims(8, &[&KEY]))).unwrap();
    assert_eq!((taken.seq, taken.has_token, taken.status_list), (8, false, None));
    // A file without a token leaves the one that is there.
    verifier.verify(&verifier.bundled_token().unwrap()).unwrap();
}

#[test]
fn the_first_file_is_trusted_by_given_keys_else_by_its_own() {
    let file = KEY.file(&bundle_claims(1, &KEY));
    let given = |key: &Key| builder().jwks(json!({ "keys": [key.jwk()] }).to_string());
    start(builder(), &file).unwrap();
    start(given(&KEY), &file).unwrap();
    assert_not_started(start(given(&OTHER_KEY), &file), KidUnknown);
    // Trusting itself is not trusting anything.
    let foreign = Key::new("key-1");
    assert_not_started(start(builder(), foreign.file(&bundle_claims(1, &KEY))), SignatureInvalid);
    assert_not_started(start(builder(), OTHER_KEY.file(&bundle_claims(1, &KEY))), KidUnknown);
    // And it is done once: the next file must be signed by a key of the first.
    let verifier = start(builder(), &file).unwrap();
    let next = OTHER_KEY.file(&bundle_claims(2, &OTHER_KEY));
    assert_not_taken(verifier.import(&next), KidUnknown);
    assert!(matches!(builder().build(), Err(BuildError::KeysMissing)));
}

#[test]
fn keys_of_a_file_replace_those_of_the_file_before() {
    let verifier = verifier();
    let by = |key: &Key| verifier.verify(&key.token(&claims())).map_err(|error| error.code());
    verifier.import(&KEY.file(&file_claims(1, &[&KEY, &OTHER_KEY]))).unwrap();
    assert!(by(&KEY).is_ok() && by(&OTHER_KEY).is_ok());
    verifier.import(&KEY.file(&file_claims(2, &[&KEY]))).unwrap();
    assert_eq!(by(&OTHER_KEY).unwrap_err(), KeyWithdrawn);
    by(&KEY).unwrap();
}

#[test]
fn a_refresh_file_brings_a_newer_status_list() {
    let verifier = start(builder(), KEY.file(&bundle_claims(1, &KEY))).unwrap();
    let token = verifier.bundled_token().unwrap();
    let mut refresh = file_claims(2, &[&KEY]);
    refresh["status_list"] = json!(KEY.list(&list_claims(NOW - 10, 2)));
    verifier.import(&KEY.file(&refresh)).unwrap();
    assert_refused(verifier.verify(&token), Suspended);
    // A newer file with an older list does not bring the license back.
    let mut older = file_claims(3, &[&KEY]);
    older["status_list"] = json!(KEY.list(&list_claims(NOW - 20, 0)));
    verifier.import(&KEY.file(&older)).unwrap();
    assert_refused(verifier.verify(&token), Suspended);
    assert_eq!(verifier.status_lists()[0].issued_at, NOW - 10);
    // An expired list still withdraws.
    let late = start(builder().clock(|| NOW + 10 * 86_400), KEY.file(&bundle_claims(1, &KEY)));
    let late = late.unwrap();
    late.import(&KEY.file(&refresh)).unwrap();
    assert_refused(late.verify(&token), Suspended);
}

#[test]
fn an_older_or_repeated_file_is_refused() {
    let verifier = verifier();
    let file = |seq: i64| KEY.file(&bundle_claims(seq, &KEY));
    verifier.import(&file(5)).unwrap();
    for (seq, words) in [(4, "this is file 4, and file 5 is already"), (1, "this is file 1")] {
        let refused = assert_not_taken(verifier.import(&file(seq)), Replayed);
        assert!(refused.contains(words), "{refused}");
    }
    let refused = assert_not_taken(verifier.import(&file(5)), Replayed);
    assert!(refused.contains("file 5 is already imported"), "{refused}");
    let other_five = KEY.file(&with(bundle_claims(5, &KEY), "later", json!(1)));
    assert_not_taken(verifier.import(&other_five), Replayed);
    verifier.import(&file(9)).unwrap();
}

#[test]
fn a_file_for_another_license_or_deployment_is_refused() {
    let verifier = verifier();
    verifier.import(&KEY.file(&file_claims(1, &[&KEY]))).unwrap();
    let other = json!("018f2a00-0000-7000-8000-00000000ffff");
    for name in ["sub", "license_id"] {
        let file = KEY.file(&with(file_claims(2, &[&KEY]), name, other.clone()));
        assert_not_taken(verifier.import(&file), OtherLicense);
    }
}

#[test]
fn a_file_that_is_not_the_issuer_s_changes_nothing() {
    let verifier = verifier();
    verifier.import(&KEY.file(&bundle_claims(1, &KEY))).unwrap();
    let good = bundle_claims(2, &KEY);
    let header = |name: &str, value: Value| {
        let mut header = json!({ "alg": "RS256", "typ": "license-file+jwt", "kid": KEY.kid });
        header[name] = value;
        KEY.sign(header.to_string(), good.to_string())
    };
    let text = KEY.file(&good);
    let (message, _) = text.rsplit_once('.').unwrap();
    let mut private = KEY.jwk();
    private["d"] = json!("AQAB");
    let mut others_token = claims();
    others_token["sub"] = json!("018f2a00-0000-7000-8000-00000000ffff");
    let mut others_list = list_claims(NOW, 0);
    others_list["sub"] = json!("https://cp.example/api/v1/status-lists/2");
    let unsigned = json!({ "token": token(), "jwks": { "keys": [KEY.jwk()] } });
    let mut refused = vec![
        (KEY.token(&good), TypWrong),
        (KEY.list(&good), TypWrong),
        (header("alg", json!("none")), AlgNotAllowed),
        (header("crit", json!(["x"])), TokenMalformed),
        (header("kid", json!("key-9")), KidUnknown),
        (Key::new("key-1").file(&good), SignatureInvalid),
        (OTHER_KEY.file(&bundle_claims(2, &OTHER_KEY)), KidUnknown),
        (format!("{message}.{}", base64url([0; 256])), SignatureInvalid),
        (unsigned.to_string(), TokenMalformed),
        (String::new(), TokenMalformed),
        ("x.y.z".to_owned(), TokenMalformed),
        ("x".repeat(512 * 1024 + 1), TokenTooLarge),
    ];
    for (name, value, code) in [
        ("iss", json!("https://evil.example"), IssuerWrong),
        ("iss", json!(1), ClaimsInvalid),
        ("sub", json!("x"), ClaimsInvalid),
        ("license_id", json!(null), ClaimsInvalid),
        ("contract", json!("3.0.0"), ContractUnsupported),
        ("contract", json!(null), ClaimsInvalid),
        ("seq", json!(0), ClaimsInvalid),
        ("seq", json!(-1), ClaimsInvalid),
        ("seq", json!(2.0), ClaimsInvalid),
        ("iat", json!(NOW + 61), NotYetValid),
        ("iat", json!(-1), ClaimsInvalid),
        ("jwks", json!({}), ClaimsInvalid),
        ("jwks", json!({ "keys": [KEY.jwk(), KEY.jwk()] }), ClaimsInvalid),
        ("jwks", json!({ "keys": [private] }), ClaimsInvalid),
        // Its own keys must verify what is in it.
        ("jwks", json!({ "keys": [OTHER_KEY.jwk()] }), KidUnknown),
        ("token", json!("x"), TokenMalformed),
        ("token", json!(KEY.list(&list_claims(NOW, 0))), TypWrong),
        ("token", json!(KEY.token(&others_token)), ClaimsInvalid),
        ("token", json!(KEY.token(&claims_with("/aud", json!("x")))), ErrorCode::AudienceWrong),
        ("status_list", json!("x"), TokenMalformed),
        ("status_list", json!(token()), TypWrong),
        ("status_list", json!(KEY.list(&others_list)), ClaimsInvalid),
        ("status_list", json!(KEY.list(&list_claims(NOW + 61, 0))), NotYetValid),
        ("key_chain", json!("x"), ClaimsInvalid),
        ("key_chain", json!([1]), ClaimsInvalid),
    ] {
        refused.push((KEY.file(&with(good.clone(), name, value)), code));
    }
    let twice = good.to_string().replacen('{', "{\"seq\":9,", 1);
    refused.push((
        KEY.sign(
            json!({ "alg": "RS256", "typ": "license-file+jwt", "kid": "key-1" }).to_string(),
            twice,
        ),
        ClaimsInvalid,
    ));
    let before = (verifier.status_lists(), verifier.bundled_token(), verifier.time_floor());
    for (file, code) in refused {
        let words = assert_not_taken(verifier.import(&file), code);
        assert!(words.len() < 400, "{words}");
        let after = (verifier.status_lists(), verifier.bundled_token(), verifier.time_floor());
        assert_eq!(after, before, "{words}");
    }
    verifier.import(&text).unwrap();
}

#[test]
fn unreadable_bundle_file_has_a_reason() {
    for text in [&b"\xff"[..], b"{}", b""] {
        let refused = start(builder(), text).unwrap_err().to_string();
        assert!(refused.contains("license.lic"), "{refused}");
    }
    let absent = builder().bundle_file(Path::new("/does/not/exist")).build().unwrap_err();
    assert!(matches!(absent, BuildError::BundleFile { .. }), "{absent}");
}

/// Files of an issuer that has had four keys since the data plane heard of the first.
mod rotations {
    use std::sync::LazyLock;

    use super::*;

    static KEYS: LazyLock<[Key; 3]> = LazyLock::new(|| ["key-b", "key-c", "key-d"].map(Key::new));

    /// A file by the newest key, with these endorsements.
    fn file(chain: &[String]) -> String {
        let newest = &KEYS[2];
        let mut claims = bundle_claims(9, newest);
        claims["jwks"] = json!({ "keys": [KEYS[1].jwk(), newest.jwk()] });
        newest.file(&with(claims, "key_chain", json!(chain)))
    }

    fn chain() -> Vec<String> {
        vec![KEY.endorse(&KEYS[0]), KEYS[0].endorse(&KEYS[1]), KEYS[1].endorse(&KEYS[2])]
    }

    #[test]
    fn a_chain_leads_over_three_missed_rotations() {
        let verifier = verifier();
        assert_not_taken(verifier.import(&file(&[])), KidUnknown);
        verifier.import(&file(&chain())).unwrap();
        let license = verifier.verify(&verifier.bundled_token().unwrap()).unwrap();
        assert_eq!(license.state(), Valid);
        // A key that is only a step on the way signs nothing any more.
        assert_refused(verifier.verify(&KEYS[0].token(&claims())), KeyWithdrawn);
    }

    #[test]
    fn a_chain_may_begin_before_what_is_known() {
        let first = Key::new("key-0");
        let long = [vec![OTHER_KEY.endorse(&first), first.endorse(&KEY)], chain()].concat();
        verifier().import(&file(&long)).unwrap();
        let latest = crate::support::verifier(&json!({ "keys": [KEYS[1].jwk()] }));
        latest.import(&file(&long)).unwrap();
    }

    #[test]
    fn a_chain_has_no_gap_and_no_foreign_link() {
        let [a, b, c] = [0, 1, 2].map(|index| chain()[index].clone());
        let foreign = Key::new("key-b");
        let impostor = Key::new("key-1");
        let mut of_another_issuer = json!({ "iat": NOW, "jwk": KEYS[0].jwk() });
        of_another_issuer["iss"] = json!("https://evil.example");
        let mut private = KEYS[0].jwk();
        private["d"] = json!("AQAB");
        let endorsing = |jwk: Value, iat: i64| {
            KEY.signed("signing-key+jwt", &json!({ "iss": ISSUER, "iat": iat, "jwk": jwk }))
        };
        for (chain, code) in [
            (vec![a.clone(), c.clone()], KidUnknown),
            (vec![c.clone(), b.clone(), a.clone()], KidUnknown),
            // Signed by an unknown key: it leads nowhere.
            (vec![OTHER_KEY.endorse(&KEYS[0]), b.clone(), c.clone()], KidUnknown),
            // By keys that call themselves like known ones.
            (vec![impostor.endorse(&KEYS[0]), b.clone(), c.clone()], SignatureInvalid),
            (vec![a.clone(), foreign.endorse(&KEYS[1]), c.clone()], SignatureInvalid),
            // Other things that the first key has signed.
            (vec![token(), b.clone(), c.clone()], TypWrong),
            (
                vec![KEY.signed("signing-key+jwt", &of_another_issuer), b.clone(), c.clone()],
                IssuerWrong,
            ),
            (vec![endorsing(private, NOW)], ClaimsInvalid),
            (vec![endorsing(json!("x"), NOW)], ClaimsInvalid),
            (vec![endorsing(KEYS[0].jwk(), -1)], ClaimsInvalid),
            (vec![format!("{a}.")], TokenMalformed),
            (vec![a.clone(); 65], ClaimsInvalid),
        ] {
            assert_not_taken(verifier().import(&file(&chain)), code);
        }
        // Twice the same is nothing worse.
        verifier().import(&file(&[vec![a; 30], vec![b, c]].concat())).unwrap();
    }

    #[test]
    fn an_endorsement_replaces_no_key() {
        let impostor = Key::new("key-1");
        // The first key vouches for another one of its own name.
        let mut claims = bundle_claims(9, &impostor);
        claims["key_chain"] = json!([KEY.endorse(&impostor)]);
        assert_not_taken(verifier().import(&impostor.file(&claims)), SignatureInvalid);
    }
}

#[test]
fn without_a_list_in_it_a_file_says_nothing_of_the_status() {
    let mut claims = file_claims(1, &[&KEY]);
    claims["token"] = json!(KEY.token(&claims_on_stale("degrade")));
    let verifier = start(builder(), KEY.file(&claims)).unwrap();
    assert_eq!(verifier.verify(&verifier.bundled_token().unwrap()).unwrap().state(), Stale);
}
