//! Any text as a token: it is refused, and nothing panics.
#![no_main]

use std::sync::LazyLock;

use dp_verifier::Verifier;
use libfuzzer_sys::fuzz_target;

/// Knows the public key of RFC 7520 §3.3, whose private key has signed no license.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let n = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_\
        AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tp\
        e-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniU\
        FAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
    let jwks = format!(r#"{{"keys":[{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB"}}]}}"#);
    let builder = Verifier::builder().issuer("i").audience("a").jwks(jwks);
    builder.build().expect("the key is good")
});

fuzz_target!(|token: &str| {
    let refused = VERIFIER.verify_at(token, 1_768_000_000).expect_err("no issuer has signed this");
    assert!(refused.to_string().len() < 400);
});
