//! V1, V18: no input panics, and nothing but what was signed is accepted.

use std::sync::LazyLock;

use dp_verifier::cp_contracts::LeaseClaims;
use dp_verifier::{ErrorCode, KeySet, check_claims, check_lease_claims};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::*;

static TOKEN: LazyLock<String> = LazyLock::new(|| KEY.token(&claims()));

fn is_about_form(code: ErrorCode) -> bool {
    use ErrorCode::*;
    !matches!(code, Expired | NotYetValid | ClaimsInvalid | IssuerWrong | AudienceWrong)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(token in ".{0,300}") {
        prop_assert!(verify(&token).is_err());
    }

    #[test]
    fn no_dotted_text_panics(token in r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}") {
        prop_assert!(verify(&token).is_err());
    }

    #[test]
    fn a_changed_character_is_never_accepted(at: Index, to in "[ -~]") {
        let mut token = TOKEN.clone();
        let at = at.index(token.len());
        prop_assume!(token[at..=at] != to);
        token.replace_range(at..=at, &to);
        prop_assert!(is_about_form(verify(&token).unwrap_err().code()));
    }

    #[test]
    fn a_cut_or_padded_token_is_never_accepted(at: Index, more in "[A-Za-z0-9_.=-]{1,8}") {
        let at = at.index(TOKEN.len());
        prop_assert!(verify(&TOKEN[..at]).is_err());
        let mut longer = TOKEN.clone();
        longer.insert_str(at, &more);
        prop_assert!(is_about_form(verify(&longer).unwrap_err().code()));
    }

    #[test]
    fn two_swapped_stretches_are_never_accepted(a: Index, b: Index, length in 1usize..40) {
        let mut bytes = TOKEN.clone().into_bytes();
        let (a, b) = (a.index(bytes.len() - length), b.index(bytes.len() - length));
        (0..length).for_each(|i| bytes.swap(a + i, b + i));
        let token = String::from_utf8(bytes).unwrap();
        prop_assume!(token != *TOKEN);
        prop_assert!(verify(&token).is_err());
    }

    #[test]
    fn damaged_claims_never_panic(at: Index, bytes in prop::collection::vec(any::<u8>(), 0..6)) {
        let mut payload = claims().to_string().into_bytes();
        let at = at.index(payload.len());
        payload.splice(at..(at + bytes.len()).min(payload.len()), bytes);
        let _ = check_claims(&payload, ISSUER, AUDIENCE, NOW);
    }

    #[test]
    fn accepted_claims_are_read_by_serde_too(at: Index, byte: u8) {
        let mut payload = claims().to_string().into_bytes();
        let at = at.index(payload.len());
        payload[at] = byte;
        if check_claims(&payload, ISSUER, AUDIENCE, NOW).is_ok() {
            let read: Result<dp_verifier::cp_contracts::DeploymentLicenseClaims, _> =
                serde_json::from_slice(&payload);
            prop_assert!(read.is_ok(), "{:?}", String::from_utf8(payload));
        }
    }

    #[test]
    fn accepted_lease_is_read_by_serde_too(at: Index, bytes in prop::collection::vec(any::<u8>(), 0..6)) {
        let golden = include_str!("../../../cp-contracts/golden/2.11.0/lease_claims.json");
        let mut payload = golden.as_bytes().to_vec();
        let at = at.index(payload.len());
        payload.splice(at..(at + bytes.len()).min(payload.len()), bytes);
        if check_lease_claims(&payload, ISSUER, AUDIENCE, 1_767_323_345).is_ok() {
            let read: Result<LeaseClaims, _> = serde_json::from_slice(&payload);
            prop_assert!(read.is_ok(), "{:?}", String::from_utf8(payload));
        }
    }

    #[test]
    fn no_key_set_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), at: Index, byte: u8) {
        let _ = KeySet::from_json(&bytes);
        let mut set = serde_json::json!({ "keys": [KEY.jwk()] }).to_string().into_bytes();
        let at = at.index(set.len());
        set[at] = byte;
        let _ = KeySet::from_json(&set);
    }
}
