//! Any bytes as the claims of a lease: what we accept, serde reads in the same way, and writes back
//! for us to accept again.
#![no_main]

use cp_contracts::LeaseClaims;
use dp_verifier::check_lease_claims;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let accepts = |payload: &[u8]| {
        check_lease_claims(payload, "https://cp.example", "data-plane", 1_768_000_000).is_ok()
    };
    if accepts(payload) {
        let claims: LeaseClaims =
            serde_json::from_slice(payload).expect("serde reads what we accept");
        let written = serde_json::to_vec(&claims).expect("claims can be written");
        assert!(accepts(&written));
    }
});
