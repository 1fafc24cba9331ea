//! The verifier of a command line, and the check of one token.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use dp_verifier::{BuildError, ErrorCode, StatusListInfo, Verifier};

use crate::commands::Options;
use crate::input::{log_key, trimmed};
use crate::outcome::{Accepted, Checked, Refusal};

/// A verifier, or the refusal of every token without one. So every token has a result.
pub(crate) type Keys = Result<Verifier, Refusal>;

/// Builds the verifier of the options. Fails when an option is unusable.
pub(crate) fn verifier(
    options: &Options,
    bundle: Option<&Path>,
) -> Result<Result<Keys, BuildError>, String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let builder =
        Verifier::builder().issuer(text(&options.issuer)).audience(text(&options.audience));
    let builder = builder.leeway(options.leeway);
    let builder = match &options.log_key {
        Some(key) => builder.log_key(log_key(key)?),
        None => builder,
    };
    let builder = match (options.require_inclusion, options.allow_unlogged) {
        (true, _) => builder.require_inclusion(),
        (_, true) => builder.allow_unlogged(),
        _ => builder,
    };
    let builder = match options.now {
        Some(now) => builder.clock(move || now),
        None => builder,
    };
    let builder = match &options.state {
        Some(path) => builder.state_path(path),
        None => builder,
    };
    let builder = match bundle {
        Some(path) => builder.bundle_file(path),
        None => builder,
    };
    let builder = match &options.jwks {
        Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
            builder.jwks_url(url)
        }
        Some(path) => builder.jwks_file(path),
        None => builder,
    };
    let builder = match &options.ca {
        Some(path) => builder.jwks_ca_file(path),
        None => builder,
    };
    let unavailable =
        |detail| Refusal { code: ErrorCode::KeysUnavailable, detail, warnings: Vec::new() };
    Ok(match builder.build() {
        Ok(verifier) => match verifier.keys_health() {
            Some(health) if health.fetched_at.is_none() => {
                let why = health.last_error.unwrap_or_else(|| "the issuer has no keys".to_owned());
                Ok(Err(unavailable(why)))
            }
            _ => Ok(Ok(verifier)),
        },
        Err(BuildError::BundleRefused { error, .. }) => Ok(Err(error.into())),
        Err(
            error @ (BuildError::KeysFile { .. }
            | BuildError::KeySet(_)
            | BuildError::BundleFile { .. }),
        ) => Ok(Err(unavailable(error.to_string()))),
        Err(error) => Err(error),
    })
}

pub(crate) fn check(keys: &Keys, now: Option<i64>, proof: Option<&str>, line: &[u8]) -> Checked {
    let verifier = keys.as_ref().map_err(Refusal::clone)?;
    // Bytes that are not UTF-8 are no token. U+FFFD stands for them, because an empty text counts
    // as a missing token.
    let token = std::str::from_utf8(line).map_or("\u{fffd}", trimmed);
    if verifier.keys_health().is_some() {
        wait_for(verifier.refresh_status(token));
    }
    if let Some(proof) = proof {
        // Only a refusal of the proof matters here. The check below judges the state.
        match verifier.verify_with_proof(token, proof) {
            Err(error) if error.state().is_none() => return Err(error.into()),
            _ => {}
        }
    }
    let checked = match now {
        Some(now) => verifier.verify_at(token, now),
        None => verifier.verify(token),
    };
    let warnings = verifier.status_lists().iter().filter_map(StatusListInfo::warning).collect();
    match checked {
        Ok(license) => Ok(Accepted::License(license, warnings)),
        Err(error) => Err(Refusal { warnings, ..error.into() }),
    }
}

/// Waits for a future on this thread.
fn wait_for(future: impl Future<Output = ()>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        thread::park();
    }
}
