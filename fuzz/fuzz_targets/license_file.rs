//! Any text as a license file or status list token: it is refused, and nothing panics or changes. The
//! input is tried as it is, and as a payload under a good header, since a file's payload is read before
//! its signature can be checked.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dp_verifier::Verifier;
use libfuzzer_sys::fuzz_target;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let builder = Verifier::builder().issuer("https://cp.example").audience("a");
    builder.jwks(r#"{"keys":[]}"#).clock(|| 1_768_000_000).build().expect("the settings are good")
});

fuzz_target!(|text: &str| {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"license-file+jwt","kid":"k"}"#);
    let wrapped = format!("{header}.{}.AAAA", URL_SAFE_NO_PAD.encode(text));
    for file in [text, &wrapped] {
        VERIFIER.import(file).expect_err("no issuer has signed this");
        VERIFIER.import_status_list(file).expect_err("no issuer has signed this");
    }
    assert!(VERIFIER.status_lists().is_empty());
});
