//! `cp-server license …`

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use cp_contracts::UsageReport;
use serde_json::{Map, Value, json};

use super::target::{Target, object_of, open, say, show};
use crate::client;
use crate::config::Config;
use crate::kernel::clock::Random;
use crate::kernel::files;
use crate::kernel::http::json::refusal::{BODY, Refusal};

#[derive(Subcommand)]
pub(super) enum License {
    /// Sign a license and print its bundle; with --all, every active license, one per line.
    Issue {
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// Sign every active license.
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// With --all: only licenses of this organization (ID).
        #[arg(long, requires = "all")]
        organization: Option<String>,
        /// With --all: only licenses whose last token this key signed, such as a leaked key.
        #[arg(long, requires = "all")]
        key_id: Option<String>,
        /// The lifetime of the token in seconds.
        #[arg(long)]
        ttl: Option<i64>,
        #[arg(long)]
        audience: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Show a license and its effective features and limits.
    Show {
        id: String,
        #[command(flatten)]
        target: Target,
    },
    /// Sign a license and write a license file for a data plane without a network. The file
    /// contains the token, the keys and the status list.
    Export {
        /// The lifetime of the token in seconds.
        #[arg(long)]
        ttl: Option<i64>,
        #[arg(long)]
        audience: Option<String>,
        id: String,
        /// The output file; standard output by default.
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
    /// Write a refresh file for a data plane that has a token. The file contains the keys and the
    /// status list.
    Refresh {
        id: String,
        /// The output file; standard output by default.
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
    /// Import the usage report of a data plane without a network.
    ImportReport {
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Suspend a license until it is reinstated.
    Suspend {
        id: String,
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Reinstate a suspended license.
    Reinstate {
        id: String,
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Revoke a license and its bundles permanently.
    Revoke {
        id: String,
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(config: &Config, license: License) -> anyhow::Result<()> {
    match license {
        License::Issue { id: Some(id), ttl, audience, target, .. } => {
            let args = bundle_args(ttl, audience, [("id", Some(id))]);
            show(config, &target, "bundles.issue", args).await
        }
        License::Issue { id: None, organization, key_id, ttl, audience, target, .. } => {
            let mut args = bundle_args(ttl, audience, []);
            let filter = object_of(json!({"organization": organization, "key_id": key_id}));
            args.insert("filter".into(), filter.into());
            issue_all(config, &target, args).await
        }
        License::Show { id, target } => {
            show(config, &target, "licenses.read", object_of(json!({"id": id}))).await
        }
        License::Revoke { id, reason, target } => {
            let args = object_of(json!({"id": id, "reason": reason}));
            show(config, &target, "licenses.revoke", args).await
        }
        License::Suspend { id, reason, target } => {
            let args = object_of(json!({"id": id, "reason": reason}));
            show(config, &target, "licenses.suspend", args).await
        }
        License::Reinstate { id, reason, target } => {
            let args = object_of(json!({"id": id, "reason": reason}));
            show(config, &target, "licenses.reinstate", args).await
        }
        License::Export { id, ttl, audience, output, target } => {
            let form = Some("file".to_owned());
            let args = bundle_args(ttl, audience, [("id", Some(id)), ("form", form)]);
            write_file(config, &target, "bundles.issue", args, output).await
        }
        License::Refresh { id, output, target } => {
            let args = object_of(json!({"id": id}));
            write_file(config, &target, "licenses.refresh", args, output).await
        }
        License::ImportReport { file, target } => {
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
            show(config, &target, "usage_reports.import", args).await
        }
    }
}

/// Requests a license file and writes it to `output`.
async fn write_file(
    config: &Config,
    target: &Target,
    operation: &str,
    args: Map<String, Value>,
    output: Option<PathBuf>,
) -> anyhow::Result<()> {
    // Check first: a refused file must not use up a file number.
    if let Some(path) = output.as_deref().filter(|path| path.exists()) {
        bail!("{} exists; choose another file: files are not overwritten", path.display());
    }
    let client = open(config, target).await?;
    let answer = client.call(operation, args).await;
    client.close().await;
    let answer = answer?;
    let text = answer["file"].as_str().context("the server's response contains no file")?;
    match output {
        None => say(text),
        Some(path) => {
            files::write_private(&path, text.as_bytes(), &Random::system())?;
            say(&format!("{} is file {} of the license.", path.display(), answer["seq"]))
        }
    }
}

/// Issues many bundles, prints each line as it arrives, and counts them on a terminal.
async fn issue_all(
    config: &Config,
    target: &Target,
    args: Map<String, Value>,
) -> anyhow::Result<()> {
    let client = open(config, target).await?;
    let mut progress = Progress::default();
    let line = client::line("bundles.issue_many")?;
    let status = client.stream(&line, args, |part| progress.take(part)).await;
    client.close().await;
    progress.end(status?)
}

/// The state of a stream of NDJSON results.
#[derive(Default)]
struct Progress {
    rest: Vec<u8>,
    issued: u64,
    refused: u64,
    failed: Option<anyhow::Error>,
}

impl Progress {
    fn take(&mut self, part: &[u8]) {
        self.rest.extend_from_slice(part);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let ok = serde_json::from_str(line.trim_end()).is_ok_and(|v: Value| v["ok"] == true);
            *(if ok { &mut self.issued } else { &mut self.refused }) += 1;
            self.failed = self.failed.take().or(say(line.trim_end()).err());
            if std::io::stderr().is_terminal() {
                eprint!("\r{} issued, {} refused", self.issued, self.refused);
            }
        }
    }

    fn end(self, status: u16) -> anyhow::Result<()> {
        if status >= 400 {
            bail!("{}", String::from_utf8_lossy(&self.rest));
        }
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let lead = if std::io::stderr().is_terminal() { "\r" } else { "" };
        eprintln!("{lead}{} issued, {} refused", self.issued, self.refused);
        if self.refused > 0 { bail!("{} licenses were refused", self.refused) } else { Ok(()) }
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
