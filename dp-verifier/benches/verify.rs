//! What a verification costs beside the raw signature check and beside other libraries.
//!
//! `cargo bench -p dp-verifier` measures with ring, and with `--features aws-lc-rs` with that.
//! Compare within one run: absolute times drift with the machine's mood.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use divan::{Bencher, black_box};
use dp_verifier::cp_contracts::{
    DeploymentLicenseClaims, LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, StatusList, TokenStatus,
};
use dp_verifier::{Holder, Verifier};
use serde_json::{Value, json};

const ISSUER: &str = "https://cp.example";
const AUDIENCE: &str = "data-plane";

fn main() {
    divan::main();
}

/// A license token of about 2 KB, and the key that it was signed with.
struct Sample {
    token: String,
    pair: KeyPair,
    n: Vec<u8>,
    now: i64,
}

impl Sample {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the peers know no other clock")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        let golden = include_str!("../../cp-contracts/golden/2.6.0/license_claims.json");
        let mut claims: Value = serde_json::from_str(golden).unwrap();
        let members = claims.as_object_mut().unwrap();
        members.insert("iat".to_owned(), json!(now));
        members.insert("nbf".to_owned(), json!(now));
        members.insert("exp".to_owned(), json!(now.saturating_add(3_600)));
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let token = sign(&pair, "license+jwt", &claims);
        let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
        Self { token, pair, n, now }
    }

    fn parts(&self) -> (&[u8], Vec<u8>) {
        let (message, signature) = self.token.rsplit_once('.').unwrap();
        (message.as_bytes(), B64.decode(signature).unwrap())
    }

    /// A status list in which the license is valid, as its issuer would have signed it now.
    fn list(&self) -> String {
        let mut list = StatusList::new(LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES);
        list.set(1, TokenStatus::Invalid).unwrap();
        let claims = json!({
            "sub": "https://cp.example/api/v1/status-lists/1", "iat": self.now,
            "exp": self.now.saturating_add(3_600), "ttl": 300, "status_list": list.to_claim(),
        });
        sign(&self.pair, "statuslist+jwt", &claims)
    }

    /// A token of about 1 KB: a lease of the pool that every license has.
    fn lease(&self, holder: &Holder) -> String {
        let license = B64.decode(self.token.split('.').nth(1).unwrap()).unwrap();
        let license: DeploymentLicenseClaims = serde_json::from_slice(&license).unwrap();
        let license_id = license.license.license_id;
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": license.sub, "jti": license.jti,
            "iat": self.now, "nbf": self.now, "exp": self.now.saturating_add(300),
            "hbnbf": self.now.saturating_add(50), "contract": "2.10.0",
            "lease": {
                "license_id": license_id, "pool": "seats", "kind": "seat",
                "holder": holder.hash(license_id), "borrowed": false, "overage": false,
            },
        });
        sign(&self.pair, "lease+jwt", &claims)
    }

    fn verifier(&self, cache: usize) -> Verifier {
        let jwk = json!({
            "kty": "RSA", "n": B64.encode(&self.n), "e": "AQAB",
            "alg": "RS256", "use": "sig", "kid": "key-1",
        });
        let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).cache(cache);
        builder.jwks(json!({ "keys": [jwk] }).to_string()).build().unwrap()
    }
}

fn sign(pair: &KeyPair, typ: &str, claims: &Value) -> String {
    let header = json!({ "alg": "RS256", "typ": typ, "kid": "key-1" });
    let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", B64.encode(signature))
}

#[divan::bench]
fn raw_ring(bencher: Bencher<'_, '_>) {
    let sample = Sample::new();
    let (message, signature) = sample.parts();
    let key = ring::signature::RsaPublicKeyComponents { n: sample.n.as_slice(), e: &[1u8, 0, 1] };
    bencher.bench(|| {
        let algorithm = &ring::signature::RSA_PKCS1_2048_8192_SHA256;
        key.verify(algorithm, black_box(message), black_box(&signature)).unwrap();
    });
}

#[divan::bench]
fn raw_aws_lc_rs(bencher: Bencher<'_, '_>) {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    let sample = Sample::new();
    let (message, signature) = sample.parts();
    let key = RsaPublicKeyComponents { n: sample.n.as_slice(), e: &[1u8, 0, 1] };
    let key = key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).unwrap();
    bencher.bench(|| key.verify_sig(black_box(message), black_box(&signature)).unwrap());
}

#[divan::bench]
fn ours_uncached(bencher: Bencher<'_, '_>) {
    let sample = Sample::new();
    let verifier = sample.verifier(0);
    bencher.bench(|| verifier.verify_at(black_box(&sample.token), sample.now).unwrap());
}

#[divan::bench]
fn ours_cached(bencher: Bencher<'_, '_>) {
    let sample = Sample::new();
    let verifier = sample.verifier(1_024);
    bencher.bench(|| verifier.verify_at(black_box(&sample.token), sample.now).unwrap());
}

#[divan::bench]
fn ours_cached_with_a_status_list(bencher: Bencher<'_, '_>) {
    let sample = Sample::new();
    let verifier = sample.verifier(1_024);
    verifier.import_status_list(&sample.list()).unwrap();
    bencher.bench(|| verifier.verify_at(black_box(&sample.token), sample.now).unwrap());
}

#[divan::bench]
fn ours_taking_a_status_list(bencher: Bencher<'_, '_>) {
    let sample = Sample::new();
    let verifier = sample.verifier(0);
    let list = sample.list();
    bencher.bench(|| verifier.import_status_list(black_box(&list)).unwrap());
}

#[divan::bench]
fn ours_claims_only(bencher: Bencher<'_, '_>) {
    let sample = Sample::new();
    let payload = B64.decode(sample.token.split('.').nth(1).unwrap()).unwrap();
    bencher.bench(|| {
        dp_verifier::check_claims(black_box(&payload), ISSUER, AUDIENCE, sample.now).unwrap();
    });
}

#[divan::bench]
fn ours_lease_uncached(bencher: Bencher<'_, '_>) {
    measure_lease(bencher, 0);
}

#[divan::bench]
fn ours_lease_cached(bencher: Bencher<'_, '_>) {
    measure_lease(bencher, 1_024);
}

fn measure_lease(bencher: Bencher<'_, '_>, cache: usize) {
    let sample = Sample::new();
    let verifier = sample.verifier(cache);
    let license = verifier.verify_at(&sample.token, sample.now).unwrap();
    let holder = Holder::email("anna@acme.example");
    let token = sample.lease(&holder);
    bencher.bench(|| {
        verifier.verify_lease_at(black_box(&token), &license, &holder, sample.now).unwrap()
    });
}

#[divan::bench]
fn jsonwebtoken_aws_lc_rs(bencher: Bencher<'_, '_>) {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    let sample = Sample::new();
    let key = DecodingKey::from_rsa_components(&B64.encode(&sample.n), "AQAB").unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    bencher.bench(|| {
        let token = black_box(&sample.token);
        jsonwebtoken::decode::<DeploymentLicenseClaims>(token, &key, &validation).unwrap()
    });
}
