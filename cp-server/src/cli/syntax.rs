//! The syntax of the command line, verbs aside.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::{Map, Value};

use super::target::Target;
use super::verbs::Verbs;
use super::{audit, backup, clock, console, events, import, keys, lease, license};
use crate::config::Config;

/// The license authority: manages customers, and issues license tokens that verify offline.
#[derive(Parser)]
#[command(name = "cp-server", version, after_help = EXAMPLES, max_term_width = 100)]
pub(super) struct Cli {
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
pub(super) enum Command {
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
    /// Create a link that signs a person in at the web console
    #[command(subcommand)]
    Console(console::Console),
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
    /// Claim, list, borrow and end leases of seats
    #[command(subcommand)]
    Lease(lease::Lease),
    /// Import organizations, people, plans, licenses and license keys from a file
    #[command(after_help = import::EXAMPLES)]
    Import(import::Import),
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
    /// Print what happened, follow it, or forward it to a local program
    #[command(after_help = events::EXAMPLES)]
    Events(events::Events),
    /// Correct the state after a wrong clock
    // The server's own message names it when it is needed.
    #[command(subcommand, hide = true)]
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
    // A running server has it at /api/v1/openapi.json, and the list of commands fits on one screen.
    #[command(hide = true)]
    Openapi,
    /// Print a shell completion script: `source <(cp-server completions bash)`
    // `docs/cli.md` describes it, and the list of commands fits on one screen.
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Settings of the server, each a flag and an environment variable
    #[command(hide = true)]
    Settings,
}

#[derive(Args)]
pub(super) struct Call {
    /// The operation, such as licenses.revoke; --help with an operation shows its fields
    pub(super) operation: String,
    /// name=value pairs for the path, the query string or the body. The operation's schema
    /// determines the type of a value; lists and objects are JSON
    #[arg(value_parser = pair)]
    pub(super) args: Vec<(String, String)>,
    /// The body as JSON, such as '{"external_id": null}'. Pairs are added to it
    #[arg(long, short, value_parser = object)]
    pub(super) data: Option<Map<String, Value>>,
}

fn pair(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').context("must be name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
    serde_json::from_str(text).context("must be a JSON object, such as '{\"name\": \"Acme\"}'")
}
