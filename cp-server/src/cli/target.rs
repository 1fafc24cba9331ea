//! The target of a command: a running server, or the database of this machine.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use axum::http::{HeaderValue, Uri};
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
            check(url, token.expose())?;
            let authorities = ca.map(|path| authorities("--ca", path));
            Ok(Client::Remote(Remote::new(url, token.expose(), authorities.transpose()?)))
        }
        (Some(_), None) => bail!("--url requires --token (or CP_TOKEN)"),
        (None, _) => Ok(Client::local(config.open(Purpose::Calling).await?)),
    }
}

/// Refuses an address and a token that no request can have, by the names of their flags.
fn check(url: &str, token: &str) -> anyhow::Result<()> {
    let is_of_web = url::Url::parse(url)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_of_web || url.parse::<Uri>().is_err() {
        bail!("--url (or CP_URL) must be an http or https URL, such as https://cp.example.com");
    }
    if HeaderValue::from_str(token).is_err() {
        bail!("--token (or CP_TOKEN) must be one line of printable characters");
    }
    Ok(())
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
    form.check(&line)?;
    let client = open(config, target).await?;
    let answer = client.answer(operation, args).await;
    client.close().await;
    let answer = answer?;
    if answer.is_empty() {
        return Ok(());
    }
    match form.render(&line, &answer) {
        Ok(text) => say(text.trim_end()),
        // The change is made, and the exit status must not contradict it.
        Err(error) if !line.reads() => {
            eprintln!("note: {error:#}");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Prints a line of a command that only reads, or whose work is done. A closed pipe (`| head`) ends
/// the command, and is not an error.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.context("standard output"),
    }
}

/// Prints the lines of a command that changes something meanwhile. A closed pipe does not stop the
/// change: the command goes on, and fails at its end.
#[derive(Default)]
pub(super) struct Printer(Option<std::io::Error>);

impl Printer {
    /// Prints a line, unless an earlier one could not be printed.
    pub(super) fn say(&mut self, text: &str) {
        if self.0.is_none() {
            self.0 = writeln!(std::io::stdout(), "{text}").err();
        }
    }

    /// Fails if a line could not be printed.
    pub(super) fn end(self) -> anyhow::Result<()> {
        self.0.map_or(Ok(()), Err).context("standard output")
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
