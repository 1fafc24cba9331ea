//! Millions of verifications, good and hostile, on all processors; watches the memory meanwhile.
//!
//! ```text
//! cargo run --release -p dp-verifier --example soak -- 10000000
//! ```
//!
//! Ends with an error when a wrong answer is seen or the memory has grown by more than 16 MiB after
//! the first tenth.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a measurement with numbers of its own"
)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{error::Error, thread, time::Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use dp_verifier::Verifier;
use serde_json::{Value, json};

const NOW: i64 = 1_768_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let (verifier, samples) = samples()?;
    let workers = thread::available_parallelism()?.get();
    let (done, wrong) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    let check = |n: u64| {
        let index = usize::try_from(n).unwrap_or_default() % samples.len();
        let Sample { token, is_good } = &samples[index];
        if verifier.verify_at(token, NOW).is_ok() != *is_good {
            wrong.fetch_add(1, Relaxed);
        }
    };
    let mut settled = None;
    for tenth in 1..=10 {
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let n = done.fetch_add(1, Relaxed);
                        if n >= rounds / 10 * tenth {
                            break;
                        }
                        check(n);
                    }
                });
            }
        });
        done.store(rounds / 10 * tenth, Relaxed);
        let memory = resident_kib()?;
        println!("{:>11} checks, {:>6.1?}, {memory} KiB", rounds / 10 * tenth, start.elapsed());
        let first = *settled.get_or_insert(memory);
        if memory > first + 16 * 1024 {
            return Err(format!("the memory has grown from {first} to {memory} KiB").into());
        }
    }
    println!("{:?}", verifier.cache_stats());
    match wrong.into_inner() {
        0 => Ok(()),
        wrong => Err(format!("{wrong} wrong answers").into()),
    }
}

struct Sample {
    token: String,
    is_good: bool,
}

/// More good tokens than the cache holds, and hostile ones of all kinds made from them.
fn samples() -> Result<(Verifier, Vec<Sample>), Box<dyn Error>> {
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
    let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
    let jwk = json!({ "kty": "RSA", "n": B64.encode(n), "e": "AQAB", "kid": "key-1" });
    let verifier = Verifier::builder()
        .issuer("https://cp.example")
        .audience("data-plane")
        .jwks(json!({ "keys": [jwk] }).to_string())
        .cache(256)
        .build()?;
    let sign = |header: &Value, payload: &[u8]| -> Result<String, Box<dyn Error>> {
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(payload));
        let mut signature = vec![0; pair.public_modulus_len()];
        let random = SystemRandom::new();
        pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)?;
        Ok(format!("{message}.{}", B64.encode(signature)))
    };
    let header = json!({ "alg": "RS256", "typ": "license+jwt", "kid": "key-1" });
    let golden = include_str!("../../cp-contracts/golden/2.6.0/license_claims.json");
    let claims: Value = serde_json::from_str(golden)?;
    let mut samples = Vec::new();
    for n in 0..1_000 {
        let mut claims = claims.clone();
        claims["license"]["seat_cap"] = json!(n);
        let good = sign(&header, claims.to_string().as_bytes())?;
        let (message, signature) = good.rsplit_once('.').unwrap_or_default();
        let unknown = json!({ "alg": "RS256", "typ": "license+jwt", "kid": format!("key-{n}x") });
        let deep = format!("{}{}", "[".repeat(n * 4), "]".repeat(n * 4));
        let cut = claims.to_string().into_bytes().split_off(n % 700 + 1);
        claims["exp"] = json!(NOW - 60);
        claims["enforcement"]["grace_seconds"] = json!(0);
        let hostile = [
            format!("{message}.{}", B64.encode([0; 256])),
            format!("{message}A.{signature}"),
            format!("{good}="),
            ".".repeat(n * 20),
            sign(&unknown, b"{}")?,
            sign(&header, deep.as_bytes())?,
            sign(&header, &cut)?,
            sign(&header, claims.to_string().as_bytes())?,
        ];
        samples.extend(hostile.map(|token| Sample { token, is_good: false }));
        samples.extend([good.clone(), good].map(|token| Sample { token, is_good: true }));
    }
    Ok((verifier, samples))
}

/// The process's resident memory, from procfs; 0 where there is none.
fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(0) };
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
