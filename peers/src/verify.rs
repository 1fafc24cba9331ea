//! What the check of one token costs.

use std::collections::HashSet;
use std::hint::black_box;
#[cfg(feature = "josekit")]
use std::time::UNIX_EPOCH;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use dp_verifier::cp_contracts::{DeploymentLicenseClaims, LicenseBodyClaims};
use serde::{Deserialize, Serialize};

use crate::Table;
use crate::beside::Beside;
use crate::sample::{AUDIENCE, ISSUER, Sample};

const ROUNDS: u32 = 201;

/// Checks per turn: enough to be timed, and so few that most turns are not interrupted.
const CHECKS: u32 = 100;

/// Makes a number of checks and says how long they took, after some that warm the caches.
type Candidate<'a> = Box<dyn FnMut(u32) -> anyhow::Result<Duration> + 'a>;

pub fn measure(sample: &Sample, beside: Option<Beside>) -> anyhow::Result<Table> {
    let mut candidates: Vec<(&'static str, Candidate<'_>)> = vec![
        ("raw ring", raw_ring(sample)?),
        ("raw aws-lc-rs", raw_aws_lc_rs(sample)?),
        ("ours, ring", ours(sample, 0)?),
    ];
    if let Some(mut beside) = beside {
        candidates.push(("ours, aws-lc-rs", Box::new(move |checks| beside.time(checks))));
    }
    candidates.push(("ours, cached", ours(sample, 1_024)?));
    candidates.push(("jsonwebtoken 11, aws_lc_rs", jsonwebtoken(sample)?));
    candidates.push(("jwt-simple 0.15, pure-rust", jwt_simple(sample)?));
    #[cfg(feature = "josekit")]
    candidates.push(("josekit 0.10, OpenSSL", josekit(sample)?));
    let mut table = Table::default();
    for round in 0..=ROUNDS {
        for (name, time) in &mut candidates {
            let micros = time(CHECKS)?.as_secs_f64() * 1e6 / f64::from(CHECKS);
            // The first turn warms up.
            if round > 0 {
                table.add(name, micros);
            }
        }
    }
    Ok(table)
}

fn timed<'a, T>(
    mut check: impl FnMut() -> anyhow::Result<T> + 'a,
) -> anyhow::Result<Candidate<'a>> {
    check()?;
    Ok(Box::new(move |checks| {
        for _ in 0..checks / 5 {
            black_box(check()?);
        }
        let start = Instant::now();
        for _ in 0..checks {
            black_box(check()?);
        }
        Ok(start.elapsed())
    }))
}

fn raw_ring(sample: &Sample) -> anyhow::Result<Candidate<'_>> {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    let (message, signature) = sample.parts()?;
    let key = RsaPublicKeyComponents { n: sample.n.as_slice(), e: &[1u8, 0, 1] };
    timed(move || {
        let checked = key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature);
        checked.map_err(|_| anyhow::anyhow!("refused"))
    })
}

fn raw_aws_lc_rs(sample: &Sample) -> anyhow::Result<Candidate<'_>> {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    let (message, signature) = sample.parts()?;
    let key = RsaPublicKeyComponents { n: sample.n.as_slice(), e: &[1u8, 0, 1] };
    let key = key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)?;
    timed(move || Ok(key.verify_sig(message, &signature)?))
}

fn ours(sample: &Sample, cache: usize) -> anyhow::Result<Candidate<'_>> {
    let verifier = sample.verifier().cache(cache).build()?;
    timed(move || Ok(verifier.verify(black_box(&sample.token))?))
}

fn jsonwebtoken(sample: &Sample) -> anyhow::Result<Candidate<'_>> {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    let key = DecodingKey::from_rsa_components(&B64.encode(&sample.n), "AQAB")?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    timed(move || {
        let token = black_box(&sample.token);
        Ok(jsonwebtoken::decode::<DeploymentLicenseClaims>(token, &key, &validation)?)
    })
}

/// What is not among the registered claims.
#[derive(Serialize, Deserialize)]
struct License {
    license: LicenseBodyClaims,
}

fn jwt_simple(sample: &Sample) -> anyhow::Result<Candidate<'_>> {
    use jwt_simple::prelude::{RS256PublicKey, RSAPublicKeyLike, VerificationOptions};
    let key = RS256PublicKey::from_components(&sample.n, &[1, 0, 1])?;
    let options = VerificationOptions {
        allowed_issuers: Some(HashSet::from([ISSUER.to_owned()])),
        allowed_audiences: Some(HashSet::from([AUDIENCE.to_owned()])),
        required_signature_type: Some("license+jwt".to_owned()),
        ..VerificationOptions::default()
    };
    timed(move || {
        let token = black_box(&sample.token);
        key.verify_token::<License>(token, Some(options.clone()))
    })
}

#[cfg(feature = "josekit")]
fn josekit(sample: &Sample) -> anyhow::Result<Candidate<'_>> {
    use josekit::jwk::Jwk;
    use josekit::jwt::{self, JwtPayloadValidator};
    let jwk = Jwk::from_bytes(sample.jwk.to_string())?;
    let key = josekit::jws::RS256.verifier_from_jwk(&jwk)?;
    let now = UNIX_EPOCH + Duration::from_secs(sample.now);
    timed(move || {
        let (payload, _) = jwt::decode_with_verifier(black_box(&sample.token), &key)?;
        let mut validator = JwtPayloadValidator::new();
        validator.set_base_time(now);
        validator.set_issuer(ISSUER);
        validator.set_audience(AUDIENCE);
        validator.validate(&payload)?;
        // As the others do: the license as a type.
        let license = payload.claim("license").cloned().unwrap_or_default();
        Ok(serde_json::from_value::<LicenseBodyClaims>(license)?)
    })
}
