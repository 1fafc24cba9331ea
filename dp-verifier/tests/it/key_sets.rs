//! V11: which key sets are refused, and which keys are left out.

use dp_verifier::{ErrorCode, KeySet, KeySetError, Verifier};
use serde_json::{Value, json};

use crate::support::*;

fn load(keys: impl Into<Value>) -> Result<KeySet, KeySetError> {
    KeySet::from_json(json!({ "keys": keys.into() }).to_string().as_bytes())
}

fn jwk_with(name: &str, value: impl Into<Option<Value>>) -> Value {
    let mut jwk = KEY.jwk();
    let members = jwk.as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    jwk
}

/// An odd modulus of this many bits without small factors of interest.
fn modulus(bits: usize) -> String {
    let mut octets = vec![0xa5; bits.div_ceil(8)];
    octets[0] = match bits % 8 {
        0 => 0x80,
        more => 1 << (more - 1),
    };
    *octets.last_mut().unwrap() |= 1;
    base64url(octets)
}

#[test]
fn a_set_is_an_object_with_at_most_32_keys_in_64_kib() {
    for text in ["", "null", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[1]}"#] {
        assert!(KeySet::from_json(text.as_bytes()).is_err(), "{text}");
    }
    assert!(KeySet::from_json(br#"{"keys":[],"keys":[]}"#).is_err());
    assert!(KeySet::from_json(b"{\"keys\":[],\"x\":\"\xff\"}").is_err());
    assert!(KeySet::from_json(br#"{"keys":[{"kty":"EC","a":1,"a":2}]}"#).is_err());
    let named = |n: usize| jwk_with("kid", json!(n.to_string()));
    assert_eq!(load((0..32).map(named).collect::<Vec<_>>()).unwrap().len(), 32);
    assert!(load((0..33).map(named).collect::<Vec<_>>()).is_err());
    let padded = |size: usize| format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(size - 18));
    assert!(KeySet::from_json(padded(64 * 1024).as_bytes()).is_ok());
    assert!(KeySet::from_json(padded(64 * 1024 + 1).as_bytes()).is_err());
}

#[test]
fn an_ambiguous_or_leaking_set_is_refused_entirely() {
    let twin = json!({ "kty": "EC", "crv": "P-256", "kid": "key-1" });
    assert!(load(json!([KEY.jwk(), KEY.jwk()])).is_err());
    assert!(load(json!([KEY.jwk(), twin])).is_err());
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert!(load(json!([OTHER_KEY.jwk(), jwk_with(name, json!("AQAB"))])).is_err(), "{name}");
        let foreign = json!({ "kty": "EC", "kid": "ec", name: null });
        assert!(load(json!([KEY.jwk(), foreign])).is_err(), "{name}");
    }
    assert!(load(json!([KEY.jwk(), { "kty": "oct", "kid": "mac" }])).is_err());
}

#[test]
fn keys_for_something_else_are_left_out() {
    for foreign in [
        json!({ "kty": "EC", "crv": "P-256", "x": "", "y": "", "kid": "ec" }),
        json!({ "kty": "OKP", "kid": 7 }),
        json!({ "kty": "later" }),
        json!({ "kid": "none" }),
        json!({}),
        jwk_with("alg", json!("RS512")),
        jwk_with("alg", json!("PS256")),
        jwk_with("use", json!("enc")),
        jwk_with("key_ops", json!([])),
        jwk_with("key_ops", json!(["sign", "encrypt"])),
    ] {
        let set =
            load(json!([foreign, OTHER_KEY.jwk()])).unwrap_or_else(|e| panic!("{foreign}: {e}"));
        assert_eq!(set.len(), 1, "{foreign}");
    }
    for ours in [
        KEY.jwk(),
        jwk_with("alg", None),
        jwk_with("use", None),
        jwk_with("key_ops", json!(["verify"])),
        jwk_with("x5c", json!(["MII"])),
    ] {
        assert_eq!(load(json!([ours])).unwrap().len(), 1);
    }
    assert!(load(json!([])).unwrap().is_empty());
}

#[test]
fn a_broken_or_weak_key_refuses_the_set() {
    let leading_zero = base64url([vec![0], KEY.n()].concat());
    let even = base64url([&KEY.n()[..255], &[0]].concat());
    for (name, value) in [
        ("alg", json!(1)),
        ("use", json!(["sig"])),
        ("key_ops", json!("verify")),
        ("kid", json!(1)),
        ("kid", json!("")),
        ("n", json!("")),
        ("n", json!(5)),
        ("n", json!("not base64url!")),
        ("n", json!(format!("{}=", base64url(KEY.n())))),
        ("n", json!(leading_zero)),
        ("n", json!(even)),
        ("n", json!(modulus(1_024))),
        ("n", json!(modulus(2_047))),
        ("n", json!(modulus(8_193))),
        ("n", json!(modulus(16_384))),
        ("e", json!("")),
        ("e", json!("AQ")),
        ("e", json!("Aw")),
        ("e", json!("AQAA")),
        ("e", json!("AP__")),
        ("e", json!("AAEAAQ")),
        ("e", json!("__8")),
        ("e", json!("AQAAAAE")),
    ] {
        let key = jwk_with(name, value.clone());
        assert!(load(json!([OTHER_KEY.jwk(), key])).is_err(), "{name}: {value}");
    }
    for name in ["kid", "n", "e"] {
        assert!(load(json!([OTHER_KEY.jwk(), jwk_with(name, None)])).is_err(), "no {name}");
    }
    for bits in [2_048, 2_049, 3_072, 4_096, 8_192] {
        let key = jwk_with("n", json!(modulus(bits)));
        assert_eq!(load(json!([key])).unwrap_or_else(|e| panic!("{bits}: {e}")).len(), 1);
    }
    for e in ["AQAB", "AQAD", "AQAAAQ", "_____w"] {
        assert_eq!(load(json!([jwk_with("e", json!(e))])).unwrap().len(), 1, "{e}");
    }
}

#[test]
fn roca_keys_are_refused() {
    // A power of 65537 lies in the group that it generates, modulo every prime. In digits of 16
    // bits, times 65537 is "plus itself, one digit further".
    let mut power = vec![1u32];
    while power.len() < 129 {
        let mut carry = 0;
        let shifted = std::iter::once(0).chain(power.iter().copied());
        let digits = power.iter().copied().chain([0]).zip(shifted).map(|(low, high)| {
            let sum = low + high + carry;
            carry = sum >> 16;
            sum & 0xffff
        });
        power = digits.collect();
        power.extend((carry > 0).then_some(carry));
    }
    let octets = power.iter().rev().flat_map(|digit| digit.to_be_bytes().into_iter().skip(2));
    let octets: Vec<u8> = octets.skip_while(|octet| *octet == 0).collect();
    let refused = load(json!([jwk_with("n", json!(base64url(&octets)))])).unwrap_err();
    assert!(refused.to_string().contains("ROCA"), "{refused}");
}

#[test]
fn a_refusal_says_which_key_and_why() {
    let refused = load(json!([OTHER_KEY.jwk(), jwk_with("d", json!("AQAB"))])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the key set is refused: keys[1] contains private or symmetric material"
    );
}

#[test]
fn keys_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwks.json");
    let build = || Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks_file(&file).build();
    assert!(build().unwrap_err().to_string().contains("jwks.json"));
    std::fs::write(&file, "{").unwrap();
    assert_eq!(build().unwrap_err().to_string(), "the key set is not JSON");
    std::fs::write(&file, json!({ "keys": [KEY.jwk()] }).to_string()).unwrap();
    build().unwrap().verify_at(&KEY.token(&claims()), NOW).unwrap();
}

#[test]
fn keys_come_from_the_contract_type_and_are_replaced() {
    let set: dp_verifier::cp_contracts::JwkSet =
        serde_json::from_value(json!({ "keys": [KEY.jwk()] })).unwrap();
    let verifier = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwk_set(&set);
    let verifier = verifier.clock(|| NOW).build().unwrap();
    verifier.verify(&KEY.token(&claims())).unwrap();
    verifier.replace_keys(load(json!([OTHER_KEY.jwk()])).unwrap());
    assert_refused(verifier.verify(&KEY.token(&claims())), ErrorCode::KidUnknown);
    verifier.verify(&OTHER_KEY.token(&claims())).unwrap();
}
