//! Signing: RSA keys, and the threads that sign with them.
//!
//! # Design
//! A signature costs a quarter of a millisecond of CPU. On the request threads it would delay every
//! other answer, and on tokio's blocking pool it would queue behind file and DNS work. So signing
//! has its own threads, one per core, behind a bounded queue that provides back-pressure.

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
use crate::kernel::traces::Tracing;

/// Signs with one key: a key in memory, or a key at a signing service.
pub trait Signer: Send + Sync {
    /// Computes RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2.1) over the message. Blocks.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>>;
    fn jwk(&self) -> &Jwk;
    /// Returns what the database keeps of the private half.
    fn kept(&self) -> Result<Kept>;
}

/// What the database keeps of a private half.
pub enum Kept {
    /// The key itself, as PKCS#8 DER.
    Key(Zeroizing<Vec<u8>>),
    /// The name of the key at the signing service, which has it.
    Name(String),
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
            other => bail!("the size of a key must be 2048, 3072 or 4096 bits (got {other})"),
        };
        Self::new(KeyPair::generate(size).context("the key could not be generated")?)
    }

    /// Reads PKCS#8 DER, whose numbers aws-lc checks against each other.
    pub fn from_pkcs8(der: &[u8]) -> anyhow::Result<Self> {
        let pair = KeyPair::from_pkcs8(der);
        Self::new(pair.map_err(|e| anyhow::anyhow!("the key is not usable: {e}"))?)
    }

    fn new(pair: KeyPair) -> anyhow::Result<Self> {
        let public = pair.public_key();
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        let key = Self { pair, jwk: named(n, e) };
        self_test(&key)?;
        Ok(key)
    }

    pub fn to_pkcs8(&self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().context("the key could not be encoded")?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }
}

impl Signer for LocalKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| Error::internal(anyhow::anyhow!("the key could not sign")))?;
        Ok(signature)
    }

    fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    fn kept(&self) -> Result<Kept> {
        self.to_pkcs8().map(Kept::Key).map_err(Error::internal)
    }
}

/// Returns the public key of these numbers, in base64url, with its RFC 7638 thumbprint as `kid`.
pub(super) fn named(n: String, e: String) -> Jwk {
    let mut jwk = Jwk::rs256("", n, e);
    jwk.kid = URL_SAFE_NO_PAD.encode(sha256(jwk.thumbprint_input().as_bytes()));
    jwk
}

/// Refuses a key that a data plane cannot load, or whose signatures another library cannot verify with
/// the public half.
pub(super) fn self_test(key: &dyn Signer) -> anyhow::Result<()> {
    let set = cp_contracts::JwkSet { keys: vec![key.jwk().clone()] };
    dp_verifier::KeySet::from_json(&serde_json::to_vec(&set)?)
        .map_err(|e| anyhow::anyhow!("data planes would refuse the key: {e}"))?;
    let message = b"self-test";
    let signature = key.sign(message).context("the key failed its self-test and is refused")?;
    anyhow::ensure!(
        is_signature(key.jwk(), message, &signature)?,
        "the key failed its self-test and is refused: its signature does not verify"
    );
    Ok(())
}

/// Returns whether the public key verifies the signature.
pub(super) fn is_signature(jwk: &Jwk, message: &[u8], signature: &[u8]) -> anyhow::Result<bool> {
    let (n, e) = modulus_and_exponent(jwk)?;
    let key = ring::signature::RsaPublicKeyComponents { n, e };
    let algorithm = &ring::signature::RSA_PKCS1_2048_8192_SHA256;
    Ok(key.verify(algorithm, message, signature).is_ok())
}

/// Returns the numbers of a public key, big-endian.
pub(super) fn modulus_and_exponent(jwk: &Jwk) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let number = |text: &str| URL_SAFE_NO_PAD.decode(text).context("a number of the public key");
    Ok((number(&jwk.n)?, number(&jwk.e)?))
}

/// Signs claims and returns their JWS compact serialization (RFC 7515, section 7.1).
pub fn compact(signer: &dyn Signer, typ: &str, claims: &[u8]) -> Result<String> {
    let mut token = URL_SAFE_NO_PAD.encode(header(typ, signer.jwk()));
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
    Ok(token)
}

/// Returns the length of the license token with such claims: the signature is as long as the
/// modulus.
pub fn token_len(jwk: &Jwk, claims: usize) -> usize {
    let encoded = |bytes: usize| (bytes * 4).div_ceil(3);
    encoded(header(LICENSE_TOKEN_TYP, jwk).len()) + encoded(claims) + jwk.n.len() + 2
}

/// Returns the header with exactly these three members. The kid is base64url and the rest constant,
/// so nothing needs escaping.
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

/// The signatures that a signing service makes at once.
pub(super) const AT_ONCE: usize = 32;
/// The maximum number of waiting signatures per thread: about half a second of work.
const QUEUED: usize = 1024;

impl SignerPool {
    /// Starts the threads. A thread waits while a signing service signs, so a service has more of them.
    pub fn start(signs_elsewhere: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = if signs_elsewhere { cores.max(AT_ONCE) } else { cores };
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

    /// Runs the work on a signing thread. Refuses with 503 when too much work waits already.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // The caller may be gone.
            let _ = done.send(work());
        });
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(Error::unavailable("Too many signatures are waiting. Try again.", 1));
            }
            Err(TrySendError::Disconnected(_)) => {
                return Err(Error::internal(anyhow::anyhow!("the signing threads have ended")));
            }
        }
        let signed = async { result.await.map_err(Error::internal)? };
        signed.step("sign").await
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // A panic ends its job, and not the thread that other jobs wait for.
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
