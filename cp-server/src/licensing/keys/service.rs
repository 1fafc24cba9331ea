//! Keys at a signing service: their private halves never enter this process.
//!
//! # Design
//! The service is the operator's own, usually a few lines before a KMS or an HSM. So its interface is as
//! small as possible: one request makes a key, another one signs a digest. docs/keys.md specifies both.
//! A signature counts only when the public half verifies it: a service that mixes up keys makes no token
//! that data planes refuse. Rejected: a client for each cloud, each of which is larger than this server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cp_contracts::{Jwk, LICENSE_TOKEN_ALG};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::tls::Certificate;

use super::signer::{self, AT_ONCE, Kept, Signer};
use crate::kernel::error::{Error, Result};
use crate::kernel::outbound;
use crate::kernel::secret::{Secret, sha256};

/// The largest answer, in bytes.
const LARGEST: u64 = 64 * 1024;
/// The longest name of a key.
const LONGEST_NAME: usize = 200;
/// The longest time for a signature. Requests that need one wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time for a new key, which an HSM may make slowly.
const PATIENCE_FOR_A_KEY: Duration = Duration::from_secs(60);

/// A signing service.
pub struct SigningService {
    url: String,
    token: Arc<Secret<String>>,
    agent: ureq::Agent,
}

impl fmt::Debug for SigningService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningService").field("url", &self.url).finish_non_exhaustive()
    }
}

/// An answer with a new key.
#[derive(Deserialize)]
struct Made {
    key: String,
    jwk: Numbers,
}

/// The numbers of a public key (RFC 7518, section 6.3.1).
#[derive(Deserialize)]
struct Numbers {
    n: String,
    e: String,
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

impl SigningService {
    /// Returns the service at a URL. `authorities` replace the public certificate authorities.
    pub fn new(
        url: &str,
        token: Arc<Secret<String>>,
        authorities: Option<Arc<Vec<Certificate<'static>>>>,
    ) -> Self {
        let config = outbound::client(authorities)
            .max_idle_connections(AT_ONCE)
            .max_idle_connections_per_host(AT_ONCE)
            .build();
        let url = url.trim_end_matches('/').to_owned();
        Self { url, token, agent: ureq::Agent::new_with_config(config) }
    }

    /// Sends a request, once more if the connection broke, and reads its answer.
    fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        expected: StatusCode,
        patience: Duration,
    ) -> anyhow::Result<T> {
        let url = format!("{}/{path}", self.url);
        let send = || -> std::result::Result<_, ureq::Error> {
            let request = Request::post(&url)
                .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose()))
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string())?;
            let request = self.agent.configure_request(request).timeout_global(Some(patience));
            let mut answer = self.agent.run(request.build())?;
            let text = answer.body_mut().with_config().limit(LARGEST).read_to_vec()?;
            Ok((answer.status(), text))
        };
        let sent = match send() {
            // A kept connection that the service has closed meanwhile.
            Err(ureq::Error::Io(_) | ureq::Error::ConnectionFailed) => send(),
            sent => sent,
        };
        let (status, text) = sent.with_context(|| url.clone())?;
        if status != expected {
            bail!("{url} answered {status}");
        }
        serde_json::from_slice(&text).with_context(|| format!("the answer of {url}"))
    }
}

/// A key at a signing service.
pub struct ServiceKey {
    service: Arc<SigningService>,
    name: String,
    jwk: Jwk,
}

impl ServiceKey {
    pub fn new(service: Arc<SigningService>, name: String, jwk: Jwk) -> Self {
        Self { service, name, jwk }
    }

    /// Lets the service make a key. Blocks.
    pub fn make(service: Arc<SigningService>, bits: u32) -> anyhow::Result<Self> {
        let body = json!({"algorithm": LICENSE_TOKEN_ALG, "bits": bits});
        let made: Made = service.ask("keys", &body, StatusCode::CREATED, PATIENCE_FOR_A_KEY)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~:".contains(c);
        ensure!(
            (1..=LONGEST_NAME).contains(&made.key.len()) && made.key.chars().all(is_plain),
            "the signing service named a key {:?}; a name has 1 to {LONGEST_NAME} letters, digits and -_.~:",
            made.key
        );
        let key = Self::new(service, made.key, signer::named(made.jwk.n, made.jwk.e));
        let (modulus, _) = signer::modulus_and_exponent(&key.jwk)?;
        let length = modulus.len() * 8;
        ensure!(
            u32::try_from(length) == Ok(bits),
            "the signing service made a key of {length} bits instead of {bits}"
        );
        signer::self_test(&key)?;
        Ok(key)
    }

    fn signature(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let digest = URL_SAFE_NO_PAD.encode(sha256(message));
        let body = json!({"algorithm": LICENSE_TOKEN_ALG, "digest": digest});
        let path = format!("keys/{}/signatures", self.name);
        let signed: Signed = self.service.ask(&path, &body, StatusCode::CREATED, PATIENCE)?;
        let signature = URL_SAFE_NO_PAD.decode(signed.signature).context("the signature")?;
        ensure!(
            signer::is_signature(&self.jwk, message, &signature)?,
            "the public key does not verify the signature of the key {}",
            self.name
        );
        Ok(signature)
    }
}

impl Signer for ServiceKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.signature(message).map_err(|cause| {
            let detail = "The signing service made no signature. The server's log has the reason. Try \
                          again.";
            Error::unavailable_because(detail, 5, cause)
        })
    }

    fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    fn kept(&self) -> Result<Kept> {
        Ok(Kept::Name(self.name.clone()))
    }
}
