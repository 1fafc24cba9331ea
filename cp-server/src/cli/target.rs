//! The target of a command: a running server, or the database of this machine.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::variables;
use crate::client::{self, Client};
use crate::config::installation::Purpose;
use crate::config::{Config, Hidden};
use crate::kernel::secret::Secret;

/// The target of a command.
#[derive(Args, Clone)]
#[command(next_help_heading = "Server")]
pub(super) struct Target {
    /// The URL of a running server. By default, the command uses the database of this machine.
    #[arg(long, env = "CP_URL", requires = "token", value_parser = address)]
    pub(super) url: Option<String>,
    /// A service token of that server.
    #[arg(long, env = "CP_TOKEN", hide_env_values = true, value_parser = secret)]
    pub(super) token: Option<Hidden>,
}

/// Opens a client of the target.
pub(super) async fn open(config: &Config, target: &Target) -> anyhow::Result<Client> {
    match (&target.url, &target.token) {
        (Some(url), Some(token)) => {
            let url = url.trim_end_matches('/').to_owned();
            Ok(Client::Remote { url, token: token.expose().clone() })
        }
        (Some(_), None) => bail!("--url requires --token (or CP_TOKEN)"),
        (None, _) => Ok(Client::local(config.open(Purpose::Calling).await?)),
    }
}

/// Calls an operation and prints the response.
pub(super) async fn show(
    config: &Config,
    target: &Target,
    operation: &str,
    args: Map<String, Value>,
) -> anyhow::Result<()> {
    client::line(operation)?;
    let client = open(config, target).await?;
    let answer = client.answer(operation, args).await;
    client.close().await;
    match answer? {
        answer if answer.is_empty() => Ok(()),
        answer => say(&client::pretty(&answer)?),
    }
}

/// Prints a line. A closed pipe (`| head`) is not an error.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.context("standard output"),
    }
}

fn secret(text: &str) -> Result<Hidden, std::convert::Infallible> {
    Ok(std::sync::Arc::new(Secret::new(variables::trimmed(text).to_owned())))
}

fn address(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(variables::trimmed(text).to_owned())
}

/// Returns the members of an object that are not null.
pub(super) fn object_of(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members.into_iter().filter(|(_, v)| !v.is_null()).collect(),
        _ => Map::new(),
    }
}
