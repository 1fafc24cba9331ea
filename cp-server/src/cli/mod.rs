//! The command line.

mod arguments;
mod audit;
mod backup;
mod clock;
mod commands;
mod completion;
mod fields;
mod keys;
mod license;
mod operations;
mod output;
mod progress;
mod refusal;
mod serving;
mod target;
mod variables;
mod verbs;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::{Map, Value};

use self::fields::Input;
use self::target::{Target, say, show};
use crate::client;
use crate::config::Config;
use crate::config::installation::Purpose;
use crate::kernel::{http::openapi, panics};
use crate::server::examples;
use crate::telemetry;

/// The license authority: manages customers, and issues license tokens that verify offline.
#[derive(Parser)]
#[command(name = "cp-server", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    config: Config,
}

const EXAMPLES: &str = "Start with `cp-server quickstart`: from nothing to a verified license.";

const CALL_EXAMPLES: &str = "Examples:
  cp-server call organizations.create name='Acme Corp' slug=acme metadata='{\"region\": \"eu\"}'
  cp-server call users.whoami provider=auth0 'subject=auth0|anna'
  cp-server call licenses.suspend id=LICENSE_ID --data '{\"reason\": \"late\"}'
  cp-server call audit.list org=acme action=licenses.suspend --url https://licenses.example.com

`cp-server operations` lists all operations. `cp-server operations NAME` shows the fields of one.";

#[derive(Subcommand)]
enum Command {
    /// Serve the API
    Serve {
        /// Accept that CP_BASE_URL, the issuer of the tokens, has changed
        #[arg(long)]
        accept_new_issuer: bool,
    },
    /// Migrate the database schema
    Migrate,
    /// Create an example organization, mint a license, verify it offline, then serve
    Quickstart {
        /// Do everything except serve
        #[arg(long)]
        no_serve: bool,
    },
    /// Write the whole database into one file while the servers run
    #[command(after_help = backup::BACKUP_EXAMPLES)]
    Backup(backup::Backup),
    /// Restore a backup into an empty database
    #[command(after_help = backup::RESTORE_EXAMPLES)]
    Restore(backup::Restore),
    /// Create, list and show organizations and their quotas
    #[command(subcommand)]
    Org(Verbs),
    /// Add and list the members of an organization
    #[command(subcommand)]
    Member(Verbs),
    /// Create, list and show plans
    #[command(subcommand)]
    Plan(Verbs),
    /// Create, list, change and cancel subscriptions
    #[command(subcommand)]
    Subscription(Verbs),
    /// Create, list and show deployments
    #[command(subcommand)]
    Deployment(Verbs),
    /// Create, issue, show, export and revoke licenses
    #[command(subcommand)]
    License(license::License),
    /// Create, import, rotate and retire signing keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Create, list, rotate and revoke service tokens
    #[command(subcommand)]
    Token(Verbs),
    /// Record and sum up usage
    #[command(subcommand)]
    Usage(Verbs),
    /// Verify, read and erase the audit log
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Correct the state after a wrong clock
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Call any operation: `cp-server call licenses.revoke id=… reason=…`
    #[command(after_help = CALL_EXAMPLES)]
    Call(Call),
    /// List the operations for `call`, or show the fields of one
    Operations {
        /// The operation, such as licenses.create
        name: Option<String>,
    },
    /// Print the OpenAPI document
    Openapi,
    /// Print a shell completion script: `source <(cp-server completions bash)`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Settings of the server, each a flag and an environment variable
    #[command(hide = true)]
    Settings,
}

/// A command all of whose subcommands are verbs; see [`verbs`].
#[derive(Subcommand)]
enum Verbs {}

#[derive(Args)]
struct Call {
    /// The operation, such as licenses.revoke; --help with an operation shows its fields
    operation: String,
    /// name=value pairs for the path, the query string or the body. The operation's schema
    /// determines the type of a value; lists and objects are JSON
    #[arg(value_parser = pair)]
    args: Vec<(String, String)>,
    /// The body as JSON, such as '{"external_id": null}'. Pairs are added to it
    #[arg(long, short, value_parser = object)]
    data: Option<Map<String, Value>>,
}

pub fn main() -> ExitCode {
    completion::answer_shell();
    let line: Vec<_> = std::env::args_os().collect();
    let (command, line) = variables::read(commands::of(&line), line);
    let matches = match command.try_get_matches_from(line) {
        Ok(matches) => matches,
        Err(error) => return refusal::refuse(error),
    };
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not start")
        .and_then(|runtime| runtime.block_on(run(&matches)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let mut config = Config::from_arg_matches(matches)?;
    let is_given = |id: &str| matches.value_source(id).filter(|s| *s != ValueSource::DefaultValue);
    config.base_url_is_given = is_given("base_url").is_some();
    config.audience_is_given = is_given("audience") == Some(ValueSource::CommandLine);
    let target = Target::from_arg_matches(matches)?;
    if commands::is_local(&commands::path(matches))
        && is_given("url") == Some(ValueSource::CommandLine)
    {
        bail!("this command works on the database of this machine, and accepts no --url");
    }
    telemetry::log(&config.log, config.log_format)?;
    panics::install_hook();
    match verbs::run(matches, &config, &target).await {
        Some(done) => done,
        None => run_command(Command::from_arg_matches(matches)?, &config, &target).await,
    }
}

async fn run_command(command: Command, config: &Config, target: &Target) -> anyhow::Result<()> {
    match command {
        Command::Serve { accept_new_issuer } => serving::run(config, accept_new_issuer).await,
        Command::Quickstart { no_serve } => serving::run_quickstart(config, no_serve).await,
        Command::Migrate => {
            let bar = progress::waiting("migrating");
            let app = config.open(Purpose::SettingUp).await;
            bar.finish_and_clear();
            app?.db.close().await;
            println!("The database is up to date.");
            Ok(())
        }
        Command::Backup(backup) => backup::run(config, backup).await,
        Command::Restore(restore) => backup::run_restore(config, restore).await,
        Command::Keys(keys) => keys::run(config, keys).await,
        Command::License(license) => license::run(config, target, license).await,
        Command::Audit(audit) => audit::run(config, target, audit).await,
        Command::Clock(clock) => clock::run(config, clock).await,
        Command::Call(call) => {
            let line = client::line(&call.operation)?;
            let mut args = call.data.unwrap_or_default();
            args.extend(arguments::typed(&Input::of(&line, &Value::Null), call.args));
            show(config, target, &call.operation, args).await
        }
        Command::Operations { name: None } => say(operations::list().trim_end()),
        Command::Operations { name: Some(name) } => say(operations::page(&name)?.trim_end()),
        Command::Openapi => say(&serde_json::to_string_pretty(&openapi::document(
            &crate::operations().published().table,
            &config.base_url,
            &examples::EXAMPLES,
        ))?),
        Command::Completions { shell } => say(completion::script(shell)?.trim_end()),
        Command::Settings => {
            let mut command = commands::whole();
            command.build();
            let settings = command.find_subcommand_mut("settings").context("settings")?;
            Ok(settings.print_help()?)
        }
        Command::Org(verb)
        | Command::Member(verb)
        | Command::Plan(verb)
        | Command::Subscription(verb)
        | Command::Deployment(verb)
        | Command::Token(verb)
        | Command::Usage(verb) => match verb {},
    }
}

fn pair(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').context("must be name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
    serde_json::from_str(text).context("must be a JSON object, such as '{\"name\": \"Acme\"}'")
}
