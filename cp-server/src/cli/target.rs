//! The target of a command: a running server, or the database of this machine.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::output::Form;
use super::variables;
use crate::client::{self, Client, Remote};
use crate::config::installation::Purpose;
use crate::config::{Config, Hidden, authorities};
use crate::kernel::secret::Secret;

/// The flags of [`Target`], which every command accepts.
pub(super) const FLAGS: [&str; 4] = ["url", "token", "ca", "output"];

/// The target of a command, and the form of its output.
#[derive(Args, Clone)]
#[command(next_help_heading = "Server and output")]
pub(super) struct Target {
    /// A running server; by default, this machine's database
    #[arg(long, env = "CP_URL", hide_env_values = true, value_parser = address, global = true)]
    pub(super) url: Option<String>,
    /// A service token of that server
    #[arg(long, env = "CP_TOKEN", hide_env_values = true, value_parser = secret, global = true)]
    pub(super) token: Option<Hidden>,
    /// A PEM file with the authority of its certificate
    #[arg(long, value_name = "FILE", env = "CP_CA_FILE", hide_env_values = true, global = true)]
    pub(super) ca: Option<PathBuf>,
    /// The output; table on a terminal, json elsewhere, id for only the IDs
    #[arg(long, short, value_name = "table|json|id", global = true)]
    pub(super) output: Option<String>,
}

/// Opens a client of the target. An empty variable counts as absent.
pub(super) async fn open(config: &Config, target: &Target) -> anyhow::Result<Client> {
    let url = target.url.as_ref().filter(|url| !url.is_empty());
    let token = target.token.as_ref().filter(|token| !token.expose().is_empty());
    let ca = target.ca.as_deref().filter(|path| !path.as_os_str().is_empty());
    match (url, token) {
        (Some(url), Some(token)) => {
            let authorities = ca.map(|path| authorities("--ca", path));
            Ok(Client::Remote(Remote::new(url, token.expose(), authorities.transpose()?)))
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
    let line = client::line(operation)?;
    let form = Form::of(target.output.as_deref())?;
    let client = open(config, target).await?;
    let answer = client.answer(operation, args).await;
    client.close().await;
    match answer? {
        answer if answer.is_empty() => Ok(()),
        answer => say(form.render(&line, &answer)?.trim_end()),
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
