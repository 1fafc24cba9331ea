//! TLS in the server: a certificate and its key from PEM files, reloaded when they change.
//!
//! This module names its cryptography provider, as `kernel/outbound` does. Neither sets nor uses a
//! process-wide default, so that a library in this process can choose another one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::kernel::files;
use crate::kernel::secret::sha256;

/// The interval at which the files are checked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    now: ArcSwap<Pair>,
}

/// A certificate chain and its key, in use.
struct Pair {
    config: Arc<ServerConfig>,
    /// The hash of both files.
    read: [u8; 32],
}

impl Tls {
    /// Reads both files. Only the owner may read the key file.
    pub fn open(cert: &Path, key: &Path) -> anyhow::Result<Self> {
        let pair = Pair::new(&Files::read(cert, key)?)?;
        Ok(Self { cert: cert.into(), key: key.into(), now: ArcSwap::from_pointee(pair) })
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.now.load().config.clone()).accept(stream).await
    }

    /// Reloads the files and returns whether they changed. A broken file never replaces a working
    /// one.
    pub fn reload(&self) -> anyhow::Result<bool> {
        let files = Files::read(&self.cert, &self.key)?;
        if files.hash() == self.now.load().read {
            return Ok(false);
        }
        self.now.store(Arc::new(Pair::new(&files)?));
        Ok(true)
    }

    /// Watches the files until the future is dropped. `asked` is a request of the operator.
    pub async fn watch(&self, mut asked: impl AsyncFnMut()) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported = None;
        loop {
            let wished = tokio::select! { _ = ticks.tick() => false, () = asked() => true };
            match self.reload() {
                Ok(true) => tracing::info!(cert = %self.cert.display(), "TLS: a new certificate"),
                Ok(false) => {}
                Err(error) => {
                    let text = format!("{error:#}");
                    // The same fault is not logged every few seconds.
                    if wished || reported.as_ref() != Some(&text) {
                        tracing::error!(
                            error = text,
                            "TLS: the new certificate cannot be used; the one before stays in use"
                        );
                    }
                    reported = Some(text);
                    continue;
                }
            }
            reported = None;
        }
    }
}

struct Files {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Files {
    fn read(cert: &Path, key: &Path) -> anyhow::Result<Self> {
        let chain = std::fs::read(cert)
            .with_context(|| format!("CP_TLS_CERT: cannot read {}", cert.display()))?;
        let key = files::read_private(key).context("CP_TLS_KEY")?;
        Ok(Self { cert: chain, key: Zeroizing::new(key) })
    }

    fn hash(&self) -> [u8; 32] {
        sha256(&[sha256(&self.cert), sha256(&self.key)].concat())
    }
}

impl Pair {
    fn new(files: &Files) -> anyhow::Result<Self> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&files.cert)
            .collect::<Result<_, _>>()
            .map_err(|_| anyhow::anyhow!("CP_TLS_CERT is not PEM"))?;
        ensure!(!chain.is_empty(), "CP_TLS_CERT contains no certificate");
        let key = PrivateKeyDer::from_pem_slice(&files.key)
            .map_err(|_| anyhow::anyhow!("CP_TLS_KEY contains no private key in PEM"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("CP_TLS_CERT and CP_TLS_KEY do not match, or cannot be used")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), read: files.hash() })
    }
}
