//! Signing: RSA keys in memory, and the threads that sign with them.
//!
//! # Design
//! A signature costs a quarter of a millisecond of CPU. On the request threads it would delay every
//! other answer, and on tokio's blocking pool it would queue behind file and DNS work, so signing
//! has threads of its own, one per core, behind a queue whose bound is the back-pressure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cp_contracts::{Jwk, LICENSE_TOKEN_ALG, LICENSE_TOKEN_TYP};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::secret::sha256;

/// Signs with one key. Behind it may stand a key in memory, a KMS or a PKCS#11 token.
pub trait Signer: Send + Sync {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2.1) over the message.
    fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>>;
    fn jwk(&self) -> &Jwk;
}

/// An RSA key in this process's memory.
pub struct LocalKey {
    pair: KeyPair,
    jwk: Jwk,
}

impl LocalKey {
    pub fn generate(bits: u32) -> anyhow::Result<Self> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            other => bail!("keys are made with 2048, 3072 or 4096 bits, not {other}"),
        };
        Self::new(KeyPair::generate(size).context("the key could not be generated")?)
    }

    /// The same away from the request threads: it takes from a tenth of a second to some seconds.
    pub async fn generated(bits: u32) -> anyhow::Result<Self> {
        let made = tokio::task::spawn_blocking(move || Self::generate(bits)).await;
        made.map_err(|_| anyhow::anyhow!("the thread that made the key panicked"))?
    }

    /// From PKCS#8 DER, whose numbers aws-lc checks against each other.
    pub fn from_pkcs8(der: &[u8]) -> anyhow::Result<Self> {
        let pair = KeyPair::from_pkcs8(der);
        Self::new(pair.map_err(|e| anyhow::anyhow!("the key is not usable: {e}"))?)
    }

    fn new(pair: KeyPair) -> anyhow::Result<Self> {
        let public = pair.public_key();
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        let mut jwk = Jwk::rs256("", n, e);
        jwk.kid = URL_SAFE_NO_PAD.encode(sha256(jwk.thumbprint_input().as_bytes()));
        let key = Self { pair, jwk };
        key.self_test().context("the key failed its self-test and is refused")?;
        Ok(key)
    }

    /// Refuses what a data plane would refuse to load, and what another library cannot verify by
    /// the published half alone.
    fn self_test(&self) -> anyhow::Result<()> {
        let set = cp_contracts::JwkSet { keys: vec![self.jwk.clone()] };
        dp_verifier::KeySet::from_json(&serde_json::to_vec(&set)?)
            .map_err(|e| anyhow::anyhow!("data planes would refuse it: {e}"))?;
        let (n, e) = self.modulus_and_exponent();
        let message = b"self-test";
        ring::signature::RsaPublicKeyComponents { n, e }
            .verify(&ring::signature::RSA_PKCS1_2048_8192_SHA256, message, &self.sign(message)?)
            .map_err(|_| anyhow::anyhow!("its signature does not verify"))
    }

    pub fn to_pkcs8(&self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().context("the key could not be encoded")?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    pub fn bits(&self) -> u32 {
        u32::try_from(self.pair.public_modulus_len() * 8).unwrap_or(u32::MAX)
    }

    pub fn modulus_and_exponent(&self) -> (Vec<u8>, Vec<u8>) {
        let public = self.pair.public_key();
        (
            public.modulus().big_endian_without_leading_zero().to_vec(),
            public.exponent().big_endian_without_leading_zero().to_vec(),
        )
    }
}

impl Signer for LocalKey {
    fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .context("the key could not sign")?;
        Ok(signature)
    }

    fn jwk(&self) -> &Jwk {
        &self.jwk
    }
}

/// Signs claims: their JWS compact serialization (RFC 7515, section 7.1).
pub fn compact(signer: &dyn Signer, typ: &str, claims: &[u8]) -> anyhow::Result<String> {
    let mut token = URL_SAFE_NO_PAD.encode(header(typ, signer.jwk()));
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
    Ok(token)
}

/// How long the license token of such claims will be: the signature is as long as the modulus.
pub fn token_len(jwk: &Jwk, claims: usize) -> usize {
    let encoded = |bytes: usize| (bytes * 4).div_ceil(3);
    encoded(header(LICENSE_TOKEN_TYP, jwk).len()) + encoded(claims) + jwk.n.len() + 2
}

/// Exactly these three members, and never another one. The kid is base64url and the rest
/// constant: nothing here needs escaping.
fn header(typ: &str, jwk: &Jwk) -> String {
    let kid = &jwk.kid;
    format!(r#"{{"alg":"{LICENSE_TOKEN_ALG}","typ":"{typ}","kid":"{kid}"}}"#)
}

type Job = Box<dyn FnOnce() + Send>;

/// The signing threads.
pub struct SignerPool {
    queue: SyncSender<Job>,
}

impl Part for SignerPool {}

/// Signatures that may wait, per thread: about half a second of work.
const QUEUED: usize = 1024;

impl SignerPool {
    pub fn start() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let (queue, jobs) = sync_channel::<Job>(QUEUED * threads);
        let jobs = Arc::new(Mutex::new(jobs));
        for n in 0..threads {
            let jobs = jobs.clone();
            std::thread::Builder::new()
                .name(format!("signer-{n}"))
                .spawn(move || work(&jobs))
                .expect("a process that cannot start a thread cannot serve either");
        }
        Self { queue }
    }

    /// Does the work on a signing thread; refuses with 503 when too much waits already.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever asked may have gone away.
            let _ = done.send(work());
        });
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(Error::unavailable("Too many signatures are waiting.", 1));
            }
            Err(TrySendError::Disconnected(_)) => {
                return Err(Error::internal(anyhow::anyhow!("the signing threads are gone")));
            }
        }
        result.await.map_err(Error::internal)?
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // A panic ends its job and not the thread, which others wait for.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(job))),
            // The pool is dropped: the process ends.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_three_members_and_the_length_is_foretold() {
        let key = LocalKey::generate(2048).unwrap();
        for claims in [&b"{}"[..], b"{\"a\":1}", b"{\"a\":12}", &[b'x'; 3001]] {
            let token = compact(&key, LICENSE_TOKEN_TYP, claims).unwrap();
            assert_eq!(token.len(), token_len(key.jwk(), claims.len()));
            let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
            let kid = &key.jwk().kid;
            let expected = format!(r#"{{"alg":"RS256","typ":"license+jwt","kid":"{kid}"}}"#);
            assert_eq!(String::from_utf8(header).unwrap(), expected);
        }
    }

    #[test]
    fn the_kid_is_the_rfc_7638_thumbprint() {
        // RFC 7638, section 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwk = Jwk::rs256("", n, "AQAB");
        let thumbprint = URL_SAFE_NO_PAD.encode(sha256(jwk.thumbprint_input().as_bytes()));
        assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
