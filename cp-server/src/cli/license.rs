//! `cp-server license …`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;
use cp_contracts::UsageReport;
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::completion::of_positional;
use super::output::Form;
use super::progress;
use super::target::{Printer, Target, object_of, open, say, show};
use super::verbs::Verbs;
use crate::client::{self, Client};
use crate::config::{Config, seconds};
use crate::kernel::clock::Random;
use crate::kernel::files;
use crate::kernel::http::json::refusal::{BODY, Refusal};

#[derive(Subcommand)]
pub(super) enum License {
    /// Sign a license and print its bundle; with --all, every active license, one per line
    Issue {
        /// The ID of the license
        #[arg(required_unless_present = "all", add = ArgValueCompleter::new(of_positional("licenses.read", "id")))]
        id: Option<String>,
        /// Sign every active license.
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// With --all: only licenses of this organization (ID or slug)
        #[arg(long, requires = "all", add = ArgValueCompleter::new(of_positional("organizations.read", "org")))]
        organization: Option<String>,
        /// With --all: only licenses whose last token this key signed, such as a leaked key.
        // A thumbprint in base64url may begin with a hyphen.
        #[arg(long, requires = "all", allow_hyphen_values = true,
              add = ArgValueCompleter::new(of_positional("keys.read", "kid")))]
        key_id: Option<String>,
        /// The lifetime of the token, such as 30d
        #[arg(long, value_parser = span)]
        ttl: Option<i64>,
        /// The audience of the token; by default that of the server
        #[arg(long)]
        audience: Option<String>,
    },
    /// Sign a license and write a license file: the token, the keys and the status list
    Export {
        /// The lifetime of the token, such as 30d
        #[arg(long, value_parser = span)]
        ttl: Option<i64>,
        /// The audience of the token; by default that of the server
        #[arg(long)]
        audience: Option<String>,
        /// The ID of the license
        #[arg(add = ArgValueCompleter::new(of_positional("licenses.read", "id")))]
        id: String,
        /// The output file, or -; standard output by default.
        #[arg(long, short)]
        output: Option<String>,
    },
    /// Sign a license token, with the vendor's own life and audience
    Token {
        /// The ID of the license
        #[arg(add = ArgValueCompleter::new(of_positional("licenses.read", "id")))]
        id: String,
        /// The form of the answer: a token, or a license file for a data plane without a network
        #[arg(long, value_name = "token|file")]
        form: Option<String>,
        /// The output file for the token or the license file; by default, the answer is printed
        #[arg(long, short)]
        output: Option<String>,
    },
    /// Write a refresh file for a data plane that has a token: the keys and the status list
    Refresh {
        /// The ID of the license
        #[arg(add = ArgValueCompleter::new(of_positional("licenses.read", "id")))]
        id: String,
        /// The output file, or -; standard output by default.
        #[arg(long, short)]
        output: Option<String>,
    },
    /// Create, list, rotate and revoke license keys
    #[command(subcommand)]
    Key(Verbs),
    /// Import the usage report of a data plane without a network.
    ImportReport {
        /// The file that the data plane wrote
        file: PathBuf,
    },
}

pub(super) async fn run(config: &Config, target: &Target, license: License) -> anyhow::Result<()> {
    // The flag is also a setting, whose default must not replace that of the server.
    let own = |audience: Option<String>| audience.filter(|_| config.audience_is_given);
    match license {
        License::Key(verb) => match verb {},
        License::Issue { id: Some(id), ttl, audience, .. } => {
            let args = bundle_args(ttl, own(audience), [("id", Some(id))]);
            show(config, target, "bundles.issue", args).await
        }
        License::Issue { id: None, organization, key_id, ttl, audience, .. } => {
            Form::among(target.output.as_deref(), &[Form::Json])?;
            let args = bundle_args(ttl, own(audience), []);
            issue_all(config, target, args, BulkFilter { organization, key_id }).await
        }
        License::Export { id, ttl, audience, output } => {
            let form = Some("file".to_owned());
            let args = bundle_args(ttl, own(audience), [("id", Some(id)), ("form", form)]);
            write_file(config, target, "bundles.issue", args, output).await
        }
        License::Token { id, form, output } => {
            let args = object_of(json!({"id": id, "form": form}));
            match (output, form.as_deref()) {
                (None, _) => show(config, target, "licenses.token", args).await,
                (output, Some("file")) => {
                    write_file(config, target, "licenses.token", args, output).await
                }
                (output, _) => {
                    let about = |answer: &Value| format!("is the token {}", answer["jti"]);
                    let call = ("licenses.token", args);
                    write_member(config, target, call, "token", output, about).await
                }
            }
        }
        License::Refresh { id, output } => {
            let args = object_of(json!({"id": id}));
            write_file(config, target, "licenses.refresh", args, output).await
        }
        License::ImportReport { file } => {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("the report {} cannot be read", file.display()))?;
            let mut reader = serde_json::Deserializer::from_str(&text);
            let report: Result<UsageReport, _> = serde_path_to_error::deserialize(&mut reader);
            let report = report.map_err(|error| {
                let path = error.path().to_string();
                let why = Refusal::of(BODY, &path, &error.into_inner().to_string()).detail;
                anyhow::anyhow!("{} is not a usage report: {why}", file.display())
            })?;
            let args = object_of(json!({"id": report.deployment_id, "file": text}));
            show(config, target, "usage_reports.import", args).await
        }
    }
}

/// Requests a license file and writes it to `output`.
async fn write_file(
    config: &Config,
    target: &Target,
    operation: &str,
    args: Map<String, Value>,
    output: Option<String>,
) -> anyhow::Result<()> {
    write_member(config, target, (operation, args), "file", output, |answer| {
        format!("is file {} of the license", answer["seq"])
    })
    .await
}

/// Calls the operation, and writes a member of its answer to a file or to standard output.
pub(super) async fn write_member(
    config: &Config,
    target: &Target,
    (operation, args): (&str, Map<String, Value>),
    member: &str,
    output: Option<String>,
    about: impl FnOnce(&Value) -> String,
) -> anyhow::Result<()> {
    // Check first: a refused file must not use up a file number.
    let output = output.filter(|path| path != "-").map(PathBuf::from);
    if let Some(path) = output.as_deref() {
        check_output(path)?;
    }
    let client = open(config, target).await?;
    let answer = client.call(operation, args).await;
    client.close().await;
    let answer = answer?;
    let text = answer[member].as_str();
    let text = text.with_context(|| format!("the server's response contains no {member}"))?;
    match output {
        None => say(text),
        Some(path) => {
            files::write_private(&path, text.as_bytes(), &Random::system())?;
            say(&format!("{} {}.", path.display(), about(&answer)))
        }
    }
}

/// Refuses an output that exists, and a folder that does not: it would be that of a mistyped path.
fn check_output(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        bail!("{} exists; choose another file: files are not overwritten", path.display());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        bail!("there is no folder {}; create it, or choose another file", folder.display());
    }
    Ok(())
}

/// Issues many bundles, prints each line as it arrives, and counts them on a terminal.
async fn issue_all(
    config: &Config,
    target: &Target,
    args: Map<String, Value>,
    filter: BulkFilter,
) -> anyhow::Result<()> {
    let client = open(config, target).await?;
    let mut results = Results::new();
    let status = stream_all(&client, args, filter, &mut results).await;
    client.close().await;
    results.end(status?)
}

async fn stream_all(
    client: &Client,
    mut args: Map<String, Value>,
    filter: BulkFilter,
    results: &mut Results,
) -> anyhow::Result<u16> {
    let BulkFilter { mut organization, key_id } = filter;
    // The filter of the operation names an organization by its ID only.
    if let Some(slug) = organization.as_deref().filter(|name| name.parse::<Uuid>().is_err()) {
        let args = object_of(json!({"org": slug}));
        let found = client.call("organizations.read", args).await?;
        organization = found["id"].as_str().map(str::to_owned);
    }
    let filter = object_of(json!({"organization": organization, "key_id": key_id}));
    args.insert("filter".into(), filter.into());
    let line = client::line("bundles.issue_many")?;
    client.stream(&line, args, |part| results.take(part)).await
}

/// The licenses that `license issue --all` signs: all active ones that match all members.
struct BulkFilter {
    organization: Option<String>,
    key_id: Option<String>,
}

/// The results of a stream of NDJSON.
struct Results {
    bar: ProgressBar,
    rest: Vec<u8>,
    issued: u64,
    refused: u64,
    printer: Printer,
}

impl Results {
    fn new() -> Self {
        let bar = progress::beside_output("0 issued");
        let printer = Printer::default();
        Self { bar, rest: Vec::new(), issued: 0, refused: 0, printer }
    }

    fn take(&mut self, part: &[u8]) {
        self.rest.extend_from_slice(part);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let ok = serde_json::from_str(line.trim_end()).is_ok_and(|v: Value| v["ok"] == true);
            *(if ok { &mut self.issued } else { &mut self.refused }) += 1;
            self.printer.say(line.trim_end());
            self.bar.set_message(format!("{} issued, {} refused", self.issued, self.refused));
        }
    }

    fn end(self, status: u16) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        if status >= 400 {
            return Err(client::refusal(status, &self.rest));
        }
        if self.refused > 0 {
            bail!("{} issued, {} licenses were refused", self.issued, self.refused);
        }
        let printed = self.printer.end();
        printed.with_context(|| format!("{} issued; they were not all printed", self.issued))?;
        if std::io::stderr().is_terminal() {
            eprintln!("{} issued", self.issued);
        }
        Ok(())
    }
}

fn bundle_args<const N: usize>(
    ttl: Option<i64>,
    audience: Option<String>,
    more: [(&str, Option<String>); N],
) -> Map<String, Value> {
    let mut args = Map::new();
    if let Some(ttl) = ttl {
        args.insert("ttl_seconds".into(), ttl.into());
    }
    let audience = [("audience", audience)];
    for (name, value) in audience.into_iter().chain(more) {
        if let Some(value) = value {
            args.insert(name.into(), value.into());
        }
    }
    args
}

pub(super) fn span(text: &str) -> anyhow::Result<i64> {
    seconds(text).or_else(|| text.parse().ok()).context("must be a span such as 30d, or seconds")
}
