//! Any bytes as a key set: nothing panics, and what we accept is JSON to serde as well.
#![no_main]

use dp_verifier::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Ok(set) = KeySet::from_json(text) {
        assert!(set.len() <= 32);
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(text);
        assert!(parsed.is_ok());
    }
});
