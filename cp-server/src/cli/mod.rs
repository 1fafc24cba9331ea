//! The command line.

mod arguments;
mod audit;
mod backup;
mod clock;
mod keys;
mod license;
mod org;
mod progress;
mod refusal;
mod target;
mod token;
mod usage;
mod variables;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::target::{Target, say, show};
use crate::client;
use crate::config::installation::Purpose;
use crate::config::{Config, unknown_variables};
use crate::identity::bootstrap::First;
use crate::kernel::{http::openapi, panics};
use crate::server::examples;
use crate::server::tls::Tls;
use crate::{App, jobs, quickstart, server, telemetry};

/// The license authority: manages organizations, plans, subscriptions and deployments, and mints
/// license tokens that data planes verify offline.
#[derive(Parser)]
#[command(name = "cp-server", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: Config,
}

const EXAMPLES: &str = "Examples:
  cp-server quickstart                       from nothing to a verified license, then serve
  cp-server serve                            serve the API on 127.0.0.1:8801
  cp-server token create ci --permission licenses:issue
  cp-server org create 'Acme Corp' --owner anna@acme.example --plan team
  cp-server member add acme-corp bert@acme.example --role admin
  cp-server license issue LICENSE_ID > bundle.json
  cp-server call licenses.list org=acme-corp status=active
  CP_DATABASE_URL=postgres://cp@db/cp CP_BASE_URL=https://licenses.example.com cp-server serve

Commands other than serve and quickstart use the database of this machine, or, with --url and
--token (CP_URL, CP_TOKEN), a running server.";

const CALL_EXAMPLES: &str = "Examples:
  cp-server call organizations.list limit=5
  cp-server call organizations.create name='Acme Corp' slug=acme metadata='{\"region\": \"eu\"}'
  cp-server call subscriptions.create org=acme plan_code=team
  cp-server call users.whoami provider=auth0 'subject=auth0|anna'
  cp-server call licenses.suspend id=LICENSE_ID --data '{\"reason\": \"late\"}'
  cp-server call audit.list org=acme action=licenses.suspend --url https://licenses.example.com

`cp-server operations` lists all operations.";

#[derive(Subcommand)]
enum Command {
    /// Serve the API.
    Serve {
        /// Accept that CP_BASE_URL, the issuer of the tokens, has changed.
        #[arg(long)]
        accept_new_issuer: bool,
    },
    /// Migrate the database schema.
    Migrate,
    /// Create an example organization, mint a license, verify it offline, then serve.
    Quickstart {
        /// Do everything except serve.
        #[arg(long)]
        no_serve: bool,
    },
    /// Write the whole database into one file while the servers run.
    #[command(after_help = backup::BACKUP_EXAMPLES)]
    Backup(backup::Backup),
    /// Restore a backup into an empty database.
    #[command(after_help = backup::RESTORE_EXAMPLES)]
    Restore(backup::Restore),
    /// Create, import, rotate and retire signing keys.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Create, list, rotate and revoke service tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Create and show organizations and their quotas.
    #[command(subcommand)]
    Org(org::Org),
    /// Add and list the members of an organization.
    #[command(subcommand)]
    Member(org::Member),
    /// Record and sum up usage.
    #[command(subcommand)]
    Usage(usage::Usage),
    /// Issue, show, export and revoke licenses.
    #[command(subcommand)]
    License(license::License),
    /// Verify, read and erase the audit log.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Correct the state after a wrong clock.
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Call any operation: `cp-server call licenses.revoke id=… reason=…`.
    #[command(after_help = CALL_EXAMPLES)]
    Call(Call),
    /// List the operations for `call`.
    Operations,
    /// Print the OpenAPI document.
    Openapi,
    /// Print a shell completion script: `cp-server completions bash`.
    Completions { shell: Shell },
}

#[derive(Args)]
struct Call {
    /// The operation, such as licenses.revoke.
    operation: String,
    /// name=value pairs for the path, the query string or the body. The operation's schema
    /// determines the type of a value; lists and objects are JSON.
    #[arg(value_parser = pair)]
    args: Vec<(String, String)>,
    /// The body as JSON, such as '{"external_id": null}'. Pairs are added to it.
    #[arg(long, short, value_parser = object)]
    data: Option<Map<String, Value>>,
    #[command(flatten)]
    target: Target,
}

pub fn main() -> ExitCode {
    let (command, line) = variables::read(Cli::command(), std::env::args_os().collect());
    let parsed = command.try_get_matches_from(line);
    let parsed = parsed.and_then(|matches| {
        let mut cli = Cli::from_arg_matches(&matches)?;
        cli.config.base_url_is_given =
            matches.value_source("base_url") != Some(ValueSource::DefaultValue);
        Ok(cli)
    });
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return refusal::refuse(&error, &Cli::command()),
    };
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not start")
        .and_then(|runtime| runtime.block_on(run(cli)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let config = &cli.config;
    telemetry::log(&config.log, config.log_format)?;
    panics::install_hook();
    match cli.command {
        Command::Serve { accept_new_issuer } => {
            harden();
            warn(config);
            // Check the certificate before anything is created.
            let tls = config.network.tls()?;
            let app = config.open(Purpose::Serving { accept_new_issuer }).await?;
            prepare_token(config, &app).await?;
            serve(config, app, bind(config.listen).await?, tls).await
        }
        Command::Migrate => {
            let app = config.open(Purpose::SettingUp).await?;
            app.db.close().await;
            println!("The database is up to date.");
            Ok(())
        }
        Command::Quickstart { no_serve } => {
            harden();
            let config = quickstart::settings(config, !no_serve)?;
            warn(&config);
            let tls = config.network.tls()?;
            // Bind before anything is created, so that an address in use ends the command here.
            let listener = if no_serve { None } else { Some(bind(config.listen).await?) };
            quickstart::run(&config).await?;
            let Some(listener) = listener else { return Ok(()) };
            let serving = Purpose::Serving { accept_new_issuer: false };
            serve(&config, config.open(serving).await?, listener, tls).await
        }
        Command::Backup(backup) => backup::run(config, backup).await,
        Command::Restore(restore) => backup::run_restore(config, restore).await,
        Command::Keys(keys) => keys::run(config, keys).await,
        Command::Token(token) => token::run(config, token).await,
        Command::Org(org) => org::run(config, org).await,
        Command::Member(member) => org::run_member(config, member).await,
        Command::Usage(usage) => usage::run(config, usage).await,
        Command::License(license) => license::run(config, license).await,
        Command::Audit(audit) => audit::run(config, audit).await,
        Command::Clock(clock) => clock::run(config, clock).await,
        Command::Call(call) => {
            let line = client::line(&call.operation)?;
            let mut args = call.data.unwrap_or_default();
            args.extend(arguments::typed(&line, call.args));
            show(config, &call.target, &call.operation, args).await
        }
        Command::Operations => {
            for line in crate::operations().published().table {
                let summary = line.doc.trim().lines().next().unwrap_or_default();
                say(&format!(
                    "{:<34} {:<6} {:<48} {summary}",
                    line.name,
                    line.method.as_str(),
                    line.path
                ))?;
            }
            Ok(())
        }
        Command::Openapi => say(&serde_json::to_string_pretty(&openapi::document(
            &crate::operations().published(),
            &config.base_url,
            &examples::EXAMPLES,
        ))?),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cp-server", &mut script);
            say(String::from_utf8(script)?.trim_end())
        }
    }
}

/// Logs settings that the operator probably did not intend.
fn warn(config: &Config) {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for warning in config.warnings().into_iter().chain(unknown_variables(&Cli::command(), names)) {
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
) -> anyhow::Result<()> {
    // Before the server logs that it serves: a reader of that line may stop it immediately.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // A terminal that closes ends its programs; a service is asked to reload its files.
    let reloads = tls.is_some() || !std::io::stderr().is_terminal();
    let hangup = reloads.then(|| signal(SignalKind::hangup())).transpose()?;
    let running = jobs::start(&app);
    let (address, database) = (listener.local_addr()?, app.db.name());
    tracing::info!(%address, database, base_url = app.settings.base_url, "serving");
    let stopping = app.clone();
    let end = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        // Readiness fails from now on; accepted requests are still answered.
        stopping.stop();
    };
    room_for(config.network.max_connections);
    let served = server::serve(app.clone(), listener, tls.clone(), end);
    tokio::select! { done = served => done?, () = reload(tls, hangup) => {} }
    drop(running);
    app.db.close().await;
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

fn pair(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').context("must be name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
    serde_json::from_str(text).context("must be a JSON object, such as '{\"name\": \"Acme\"}'")
}
