//! A signing service for the license authority, over a PKCS#11 token: an HSM, or the library of a KMS.
//!
//! # Design
//! The service runs beside its server and listens on loopback. It makes keys that the token never hands
//! out, and signs digests with them. So the server has neither the keys nor the token's library in its
//! process, and stays one static program. docs/keys.md has the interface.

mod service;
mod token;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Parser;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use self::service::Service;
use self::token::Token;

/// Makes keys in a PKCS#11 token, and signs with them, for the server that presents the bearer token.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The address to listen on, which must be of this machine only.
    #[arg(long, env = "CP_SIGNER_LISTEN", default_value = "127.0.0.1:8802")]
    listen: SocketAddr,

    /// The library of the token, such as /usr/lib/softhsm/libsofthsm2.so.
    #[arg(long, env = "CP_SIGNER_MODULE")]
    module: PathBuf,

    /// The label of the token.
    #[arg(long, env = "CP_SIGNER_TOKEN_LABEL")]
    token_label: String,

    /// A file with the PIN of the token's user.
    #[arg(long, env = "CP_SIGNER_PIN_FILE")]
    pin_file: PathBuf,

    /// A file with the bearer token of the server: CP_SIGNING_SERVICE_TOKEN_FILE.
    #[arg(long, env = "CP_SIGNER_BEARER_TOKEN_FILE")]
    bearer_token_file: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        args.listen.ip().is_loopback(),
        "--listen must be an address of this machine only, such as 127.0.0.1:8802: requests are not encrypted"
    );
    let (pin, bearer) = (secret(&args.pin_file)?, secret(&args.bearer_token_file)?);
    let token = Token::open(&args.module, &args.token_label, pin)?;
    let service = Service::new(Arc::new(token), &bearer)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    eprintln!("signing address={}", listener.local_addr()?);
    let end = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    axum::serve(listener, service.router()).with_graceful_shutdown(end).await?;
    Ok(())
}

/// Reads a secret from a file that only its owner can read.
fn secret(path: &Path) -> anyhow::Result<SecretString> {
    let about = || path.display().to_string();
    let mode = std::fs::metadata(path).with_context(about)?.permissions().mode();
    ensure!(mode & 0o077 == 0, "{}: others can read it; run chmod 600 on it", path.display());
    let text = std::fs::read_to_string(path).with_context(about)?;
    let text = text.trim_end_matches(['\r', '\n']);
    ensure!(!text.is_empty(), "{}: it is empty", path.display());
    Ok(text.to_owned().into())
}
