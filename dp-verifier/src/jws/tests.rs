use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::{Kind, is_type, open};
use crate::{ErrorCode, KeySet, VerifyError};

/// One record of the published JWS and JWK vectors (Wycheproof, RFC 7520), with what a reader that
/// takes RS256 only has to do.
#[derive(Deserialize)]
struct Vector {
    id: String,
    jwks: Value,
    jws: String,
    expect_rs256_profile: String,
}

/// Runs the vectors in the directory that `DP_VERIFIER_VECTORS` names.
#[test]
fn published_jws_and_jwk_vectors() {
    #[expect(clippy::disallowed_methods, reason = "the vectors are not ours to publish")]
    let Ok(dir) = std::env::var("DP_VERIFIER_VECTORS") else {
        println!("not run: DP_VERIFIER_VECTORS names no directory");
        return;
    };
    let mut counts = [0, 0];
    for name in [
        "wycheproof_jws_rs256",
        "wycheproof_jws_other_alg",
        "wycheproof_jws_base64",
        "wycheproof_jwk",
        "rfc7520_jws",
    ] {
        let text = std::fs::read(PathBuf::from(&dir).join(name).with_extension("json")).unwrap();
        for vector in serde_json::from_slice::<Vec<Vector>>(&text).unwrap() {
            let expected = vector.expect_rs256_profile == "accept";
            assert_eq!(accepts(&vector), expected, "{name} {}", vector.id);
            counts[usize::from(expected)] += 1;
        }
    }
    println!("refused {}, accepted {}, as expected", counts[0], counts[1]);
}

fn accepts(vector: &Vector) -> bool {
    let Ok(keys) = KeySet::from_json(vector.jwks.to_string().as_bytes()) else { return false };
    let unknown = || VerifyError::new(ErrorCode::KidUnknown, "");
    open(&vector.jws, Kind::ANY, |kid| keys.find(kid).ok_or_else(unknown)).is_ok()
}

#[test]
fn media_types_compare_without_case_and_prefix() {
    for typ in ["license+jwt", "LICENSE+jwt", "application/license+jwt", "APPLICATION/license+JWT"]
    {
        assert!(is_type(typ, "license+jwt"), "{typ}");
    }
    for typ in ["", "jwt", "application/", "application", "xpplication/license+jwt", "äpplication/"]
    {
        assert!(!is_type(typ, "license+jwt"), "{typ}");
    }
}
