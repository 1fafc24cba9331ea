//! `cp-server import …`: files of NDJSON and CSV, and the exports of other systems.

mod cells;
mod csv;
mod keygen;
mod results;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use self::results::Results;
use super::output::Form;
use super::target::{Target, open, say};
use crate::client;
use crate::config::Config;
use crate::lifecycle::import::kind::Kind;

pub(super) const EXAMPLES: &str = "Examples:
  cp-server import customers.csv --kind organization --dry-run
  cp-server import all.ndjson > results.ndjson
  cp-server import keygen export/ | cp-server import -";

/// A file to import, or an export of another system to convert.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Import {
    #[command(subcommand)]
    system: Option<System>,
    /// A file of NDJSON or CSV; - for NDJSON on standard input
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Report what the import would do, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The kind of all lines of a CSV file without a column `kind`
    #[arg(long)]
    kind: Option<Kind>,
}

#[derive(Subcommand)]
enum System {
    /// Print saved lists of Keygen's API as NDJSON, and what has no equivalent on standard error
    Keygen {
        /// The folder with the lists, as .json files
        folder: PathBuf,
    },
}

pub(super) async fn run(config: &Config, target: &Target, import: Import) -> anyhow::Result<()> {
    match import {
        Import { system: Some(System::Keygen { folder }), .. } => {
            let converted = keygen::convert(&folder)?;
            for gap in &converted.gaps {
                eprintln!("{gap}");
            }
            say(converted.lines.join("\n").trim_end())
        }
        Import { file: Some(file), dry_run, kind, .. } => {
            let form = Form::among(target.output.as_deref(), &[Form::Table, Form::Json])?;
            send(config, target, lines_of(&file, kind)?, dry_run, Results::new(form)).await
        }
        Import { file: None, .. } => bail!("a file is required"),
    }
}

/// Sends the lines to the target, and prints their answers as they arrive.
async fn send(
    config: &Config,
    target: &Target,
    lines: Box<dyn Read + Send>,
    dry_run: bool,
    mut results: Results,
) -> anyhow::Result<()> {
    let line = client::line("imports.run")?;
    let query = if dry_run { "?dry_run=true" } else { "" };
    let path = format!("{}{query}", line.full_path());
    let client = open(config, target).await?;
    let status =
        client.upload(&path, "application/x-ndjson", lines, |part| results.take(part)).await;
    client.close().await;
    results.end(status?)
}

/// Returns the lines of a file.
fn lines_of(file: &Path, kind: Option<Kind>) -> anyhow::Result<Box<dyn Read + Send>> {
    let is_csv = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    if kind.is_some() && !is_csv {
        bail!(
            "--kind is for CSV files, whose names end with .csv: each line of NDJSON has its own \
             `kind`"
        );
    }
    if file == Path::new("-") {
        return ndjson(std::io::stdin(), "standard input");
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::ensure!(!opened.metadata()?.is_dir(), "{} is a folder, not a file", file.display());
    if !is_csv {
        return ndjson(opened, &file.display().to_string());
    }
    let mut lines = tempfile::tempfile().context("the folder for temporary files")?;
    csv::convert(opened, kind, &mut lines).with_context(|| file.display().to_string())?;
    lines.rewind()?;
    Ok(Box::new(lines))
}

/// Returns lines of NDJSON. A CSV file is refused as a whole: the import would refuse each of its
/// lines.
fn ndjson(from: impl Read + Send + 'static, name: &str) -> anyhow::Result<Box<dyn Read + Send>> {
    let mut lines = BufReader::new(from);
    let start = lines.fill_buf().with_context(|| format!("cannot read {name}"))?;
    if csv::has_header(start) {
        bail!("{name} is CSV, not NDJSON; the name of a CSV file must end with .csv");
    }
    Ok(Box::new(lines))
}
