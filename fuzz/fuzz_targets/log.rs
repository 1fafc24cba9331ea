//! Any text as a log key, checkpoint or proof: nothing panics, and what is read is what was written. The
//! input is tried as it is, and signed by a log of our own, since what a checkpoint says is read after
//! its signature.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dp_verifier::LogKey;
use libfuzzer_sys::fuzz_target;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

struct Log {
    pair: Ed25519KeyPair,
    id: [u8; 4],
    key: LogKey,
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("there is randomness");
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("it was just made");
    let key = [&[1], pair.public_key().as_ref()].concat();
    let hash = digest(&SHA256, &[b"log\n", &key[..]].concat());
    let id: [u8; 4] = hash.as_ref()[..4].try_into().expect("a hash is longer");
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let vkey = format!("log+{hex}+{}", STANDARD.encode(key));
    Log { pair, id, key: vkey.parse().expect("the key is good") }
});

fuzz_target!(|text: &str| {
    if let Ok(key) = text.parse::<LogKey>() {
        assert_eq!(key.to_string(), text);
    }
    let body = format!("{text}\n");
    let signature = [&LOG.id[..], LOG.pair.sign(body.as_bytes()).as_ref()].concat();
    let signed = format!("{body}\n— log {}\n", STANDARD.encode(signature));
    for checkpoint in [text, &signed] {
        if let Ok(checkpoint) = LOG.key.checkpoint(checkpoint) {
            assert!(text.starts_with(&format!("log\n{}\n", checkpoint.size())));
            assert_ne!(checkpoint.is_extended_by(&checkpoint, text), Some(!text.is_empty()));
        }
        let head = "c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\n";
        for proof in [text.to_owned(), format!("{head}{checkpoint}"), format!("{text}\n\n{signed}")]
        {
            LOG.key.proof(&proof).expect_err("no entry of this log is known");
        }
    }
});
