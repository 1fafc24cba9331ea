//! What the layer costs an axum app: requests over one kept-alive connection on loopback.
//!
//! `cargo bench -p dp-verifier --features axum --bench axum`
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::{Router, routing::get};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use divan::Bencher;
use dp_verifier::{LicenseContext, LicenseLayer, Verifier};
use serde_json::{Value, json};

const NOW: i64 = 1_768_000_000;
const BODY: &str = "Acme GmbH";

fn main() {
    divan::main();
}

#[divan::bench]
fn bare_app(bencher: Bencher<'_, '_>) {
    measure(bencher, |_| Router::new().route("/", get(async || BODY)));
}

#[divan::bench]
fn with_layer_cached(bencher: Bencher<'_, '_>) {
    measure(bencher, |jwks| licensed(jwks, 1_024));
}

#[divan::bench]
fn with_layer_uncached(bencher: Bencher<'_, '_>) {
    measure(bencher, |jwks| licensed(jwks, 0));
}

fn licensed(jwks: String, cache: usize) -> Router {
    async fn whose(license: LicenseContext) -> String {
        license.organization().name.clone()
    }
    let verifier = Verifier::builder()
        .issuer("https://cp.example")
        .audience("data-plane")
        .jwks(jwks)
        .cache(cache)
        .clock(|| NOW)
        .build();
    Router::new().route("/", get(whose)).layer(LicenseLayer::new(verifier.unwrap()))
}

/// Sends requests with a license of about 2 KB to an app with the issuer's keys.
fn measure(bencher: Bencher<'_, '_>, app: impl FnOnce(String) -> Router) {
    let (token, jwks) = license();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nodelay(true).unwrap();
    let app = app(jwks);
    runtime.spawn(async move { axum::serve(listener, app).await });
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-License-Token: {token}\r\n\r\n");
    let mut answer = Vec::new();
    bencher.bench_local(|| {
        stream.write_all(request.as_bytes()).unwrap();
        answer.clear();
        while !answer.ends_with(BODY.as_bytes()) {
            let mut part = [0; 1_024];
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend(part.iter().take(length));
        }
    });
}

fn license() -> (String, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let n = B64.encode(pair.public_key().modulus().big_endian_without_leading_zero());
    let jwk = json!({ "kty": "RSA", "n": n, "e": "AQAB", "kid": "key-1" });
    let header = json!({ "alg": "RS256", "typ": "license+jwt", "kid": "key-1" });
    let golden = include_str!("../../cp-contracts/golden/2.6.0/license_claims.json");
    let claims: Value = serde_json::from_str(golden).unwrap();
    let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
    (format!("{message}.{}", B64.encode(signature)), json!({ "keys": [jwk] }).to_string())
}
