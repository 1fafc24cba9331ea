//! `cp-server serve` and `cp-server quickstart`: the server's process.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::syntax::Cli;
use crate::config::installation::Purpose;
use crate::config::{Config, unknown_variables};
use crate::identity::bootstrap::First;
use crate::licensing::leases::hours;
use crate::server::tls::Tls;
use crate::telemetry::lines;
use crate::telemetry::traces::{TraceSettings, export, finish};
use crate::webhooks::sending;
use crate::{App, jobs, quickstart, server, telemetry};

/// The time from the signal until the attempts of webhooks must have ended.
const SENDING_ENDS: Duration = Duration::from_secs(10);

/// Serves the API until the process is asked to end.
pub(super) async fn run(config: &Config, accept_new_issuer: bool) -> anyhow::Result<()> {
    harden();
    warn(config);
    // Check the certificate and the collector before anything is created.
    let (tls, traces) = (config.network.tls()?, config.traces.settings()?);
    let app = config.open(Purpose::Serving { accept_new_issuer }).await?;
    prepare_token(config, &app).await?;
    serve(config, app, bind(config.listen).await?, tls, traces).await
}

/// Creates an example installation, and serves it unless `no_serve`.
pub(super) async fn run_quickstart(config: &Config, no_serve: bool) -> anyhow::Result<()> {
    harden();
    let config = quickstart::settings(config, !no_serve)?;
    warn(&config);
    let (tls, traces) = (config.network.tls()?, config.traces.settings()?);
    // Bind before anything is created, so that an address in use ends the command here.
    let listener = if no_serve { None } else { Some(bind(config.listen).await?) };
    quickstart::run(&config).await?;
    let Some(listener) = listener else { return Ok(()) };
    let serving = Purpose::Serving { accept_new_issuer: false };
    serve(&config, config.open(serving).await?, listener, tls, traces).await
}

/// Logs settings that the operator probably did not intend.
fn warn(config: &Config) {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown = unknown_variables(&Cli::command(), names);
    for warning in config.warnings().into_iter().chain(unknown) {
        tracing::warn!("{warning}");
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "CP_LISTEN: cannot listen on {address}; is another server running there? Stop it, or \
             choose another address with --listen"
        )
    })
}

/// Ensures that a service token exists, and reports where a new one is.
async fn prepare_token(config: &Config, app: &App) -> anyhow::Result<()> {
    match config.first_token(app).await? {
        Some(First::Shown(token)) => {
            println!(
                "The first service token, which is shown only once:\n\n  {}\n",
                token.expose()
            );
        }
        Some(First::File(path)) => {
            let path = std::path::absolute(&path).unwrap_or(path);
            let path = path.display();
            tracing::warn!(
                %path,
                "the first service token is in this file; keep it elsewhere, and delete the file"
            );
        }
        None => {}
    }
    Ok(())
}

async fn serve(
    config: &Config,
    app: App,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    traces: Option<TraceSettings>,
) -> anyhow::Result<()> {
    app.db.remove_left_copies().context("a copy of a dry run cannot be removed")?;
    // Before the server logs that it serves: a reader of that line may stop it immediately.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // A terminal that closes ends its programs; a service is asked to reload its files.
    let reloads = tls.is_some() || !std::io::stderr().is_terminal();
    let hangup = reloads.then(|| signal(SignalKind::hangup())).transpose()?;
    let _lines = lines::gather()?;
    let _ = telemetry::metrics();
    let traces = traces.map(export).transpose()?;
    let running = jobs::start(&app);
    let (address, database) = (listener.local_addr()?, app.db.name());
    tracing::info!(%address, database, base_url = app.settings.base_url, "serving");
    let stopping = app.clone();
    let asked = Arc::new(OnceLock::new());
    let asked_at = Arc::clone(&asked);
    let end = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        // Readiness fails from now on; accepted requests are still answered.
        stopping.stop();
        let _ = asked_at.set(Instant::now());
    };
    room_for(config.network.max_connections);
    let served = server::serve(app.clone(), listener, tls.clone(), end);
    tokio::select! { done = served => done?, () = reload(tls, hangup) => {} }
    drop(running);
    sending::finish(&app, *asked.get_or_init(Instant::now) + SENDING_ENDS).await;
    if let Err(error) = hours::flush(&app).await {
        tracing::warn!(%error, "the refused claims of the last seconds are not counted");
    }
    app.db.close().await;
    finish(traces);
    tracing::info!("ended");
    Ok(())
}

/// Reloads the certificate when asked to.
async fn reload(tls: Option<Arc<Tls>>, hangup: Option<Signal>) {
    let Some(mut hangup) = hangup else { return std::future::pending().await };
    match tls {
        Some(tls) => {
            let asked = async || {
                hangup.recv().await;
            };
            tls.watch(asked).await;
        }
        None => {
            while hangup.recv().await.is_some() {
                tracing::info!("SIGHUP: no certificate is configured, so none is reloaded");
            }
        }
    }
}

/// Keeps keys in memory out of core dumps and unreadable to other processes of the user.
fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none).is_ok();
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
    if !(limited && hidden) {
        tracing::warn!("core dumps of this process could not be disabled");
    }
}

/// Raises the limit of open files to the number of connections that the server is configured to
/// serve, as far as the system allows.
fn room_for(connections: u32) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Other files: the database, logs, certificates.
    let wanted = u64::from(connections) + 128;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let current = now.maximum.map_or(wanted, |most| most.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..now });
    if raised.is_err() || current < wanted {
        tracing::warn!(wanted, current, "CP_MAX_CONNECTIONS exceeds the limit of open files");
    }
}
