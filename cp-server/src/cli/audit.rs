//! `cp-server audit …`

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::output::Form;
use super::progress;
use super::target::{Target, object_of, open, say};
use crate::audit::Log;
use crate::audit::rotation::{self, Change};
use crate::audit::verify::{Stopped, verify};
use crate::client::Client;
use crate::config::Config;
use crate::config::installation::Purpose;
use crate::kernel::app::{App, Part};
use crate::kernel::digits;
use crate::kernel::text::Explanation;

#[derive(Subcommand)]
pub(super) enum Audit {
    /// Replay the log in this machine's database, read-only, and report the first event that was
    /// changed.
    Verify {
        /// A checkpoint that was kept elsewhere. The log must continue from it. Only later events
        /// are replayed.
        #[arg(long)]
        since: Option<PathBuf>,
        /// Replay everything, including events before the checkpoint.
        #[arg(long)]
        full: bool,
    },
    /// Print the log's newest checkpoint. Keep it elsewhere, for `verify --since`.
    Checkpoint,
    /// Print the key that verifies the log's checkpoints, or change it in this machine's database.
    #[command(args_conflicts_with_subcommands = true)]
    Key {
        #[command(subcommand)]
        change: Option<KeyChange>,
    },
    /// Print audit events as JSON, one per line, the newest first.
    Export {
        #[command(flatten)]
        filter: Filter,
    },
    /// Print the newest audit events, one per line.
    Tail {
        /// The number of events.
        #[arg(long, short = 'n', default_value_t = 10)]
        lines: u16,
        /// Continue with new events.
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        filter: Filter,
    },
    /// Show an audit event and the members that it changed.
    Show {
        /// The ID of the event.
        id: String,
    },
    /// Erase the content of audit events. Their leaves stay in the log, and proofs still verify.
    Erase {
        /// All events that this person caused or that name them.
        #[arg(long, required_unless_present = "events", conflicts_with = "events")]
        user: Option<String>,
        /// The ID of an event. May be repeated.
        #[arg(long = "event")]
        events: Vec<String>,
        /// The reason; the audit log records it.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Subcommand)]
pub(super) enum KeyChange {
    /// Create another key. The previous key also signs until it is retired.
    Rotate {
        /// The reason; the audit log records it.
        #[arg(long)]
        reason: Option<Explanation>,
    },
    /// Retire the previous key, when every data plane has the new one, or when it leaked.
    Retire {
        /// The reason; the audit log records it.
        #[arg(long)]
        reason: Option<Explanation>,
    },
}

/// A filter of events.
#[derive(Args)]
pub(super) struct Filter {
    /// Events of this organization (ID or slug).
    #[arg(long)]
    org: Option<String>,
    /// Events of this operation, such as licenses.revoke.
    #[arg(long)]
    action: Option<String>,
    /// Events of this user or service token (ID).
    #[arg(long)]
    actor: Option<String>,
    /// Events about this target (ID).
    #[arg(long)]
    about: Option<String>,
    /// Events that happened at or after this instant, such as 2026-01-31T12:00:00Z.
    #[arg(long)]
    since: Option<String>,
    /// Events that happened at or before this instant.
    #[arg(long)]
    until: Option<String>,
}

impl Filter {
    fn args(&self) -> (&'static str, Map<String, Value>) {
        let name = if self.org.is_some() { "audit.list" } else { "audit.list_all" };
        let args = json!({
            "org": self.org, "action": self.action, "actor": self.actor, "target": self.about,
            "since": self.since, "until": self.until,
        });
        (name, object_of(args))
    }
}

pub(super) async fn run(config: &Config, target: &Target, audit: Audit) -> anyhow::Result<()> {
    let chosen = target.output.as_deref();
    match audit {
        Audit::Verify { since, full } => run_verify(config, since, full).await,
        Audit::Checkpoint => print(config, target, "log.checkpoint").await,
        Audit::Key { change: None } => print(config, target, "log.key").await,
        Audit::Key { change: Some(change) } => {
            let (change, reason) = match change {
                KeyChange::Rotate { reason } => (Change::Follow, reason),
                KeyChange::Retire { reason } => (Change::Retire, reason),
            };
            let app = config.open(Purpose::Calling).await?;
            let reason = reason.map(Explanation::into_string);
            let done = change_key(&app, change, reason).await;
            app.db.close().await;
            done
        }
        Audit::Export { filter } => {
            let form = Form::among(chosen, &[Form::Json, Form::Id])?.unwrap_or(Form::Json);
            let client = open(config, target).await?;
            let done = export(&client, &filter, form).await;
            client.close().await;
            done
        }
        Audit::Tail { lines, follow, filter } => {
            let form = Form::among(chosen, &Form::ALL)?.unwrap_or(Form::Table);
            let client = open(config, target).await?;
            let done = tail(&client, &filter, (lines, follow), form).await;
            client.close().await;
            done
        }
        Audit::Show { id } => {
            let form = Form::among(chosen, &Form::ALL)?.unwrap_or(Form::Table);
            let client = open(config, target).await?;
            let event = client.call("audit.read", object_of(json!({"id": id}))).await;
            client.close().await;
            let event = event?;
            match form {
                Form::Table => say(&shown(&event)),
                Form::Json => say(&serde_json::to_string_pretty(&event)?),
                Form::Id => say(&id_of(&event)),
            }
        }
        Audit::Erase { user, events, reason } => {
            Form::among(chosen, &[])?;
            let client = open(config, target).await?;
            let args = json!({"user": user, "events": events, "reason": reason});
            let done = erase(&client, object_of(args)).await;
            client.close().await;
            done
        }
    }
}

async fn change_key(app: &App, change: Change, reason: Option<String>) -> anyhow::Result<()> {
    let signed = rotation::change(app, change, reason).await?;
    let key = Log::of(app).key(app, &mut app.db.read()).await?;
    say(&format!("{}\n\n{}", key.verifier(), signed.note.trim_end()))
}

async fn run_verify(config: &Config, since: Option<PathBuf>, full: bool) -> anyhow::Result<()> {
    let evidence = config.evidence().await?;
    let since = match since {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            let name = || format!("{} is not a checkpoint of this log", path.display());
            Some(evidence.key.read_kept(&text).with_context(name)?)
        }
    };
    let bar = progress::events();
    let shown = |done, all| progress::show(&bar, done, all);
    let verified = verify(evidence, since.as_ref(), full, shown).await;
    bar.finish_and_clear();
    match verified {
        Ok(report) => {
            let of = match report.from {
                0 => format!("{} events", report.size),
                from => format!("{} events, replayed from {from} on", report.size),
            };
            let signed = report.signed.map_or_else(
                || "nothing is signed yet".to_owned(),
                |size| format!("signed up to {size}"),
            );
            say(&format!(
                "The log is sound: {of}, {} erased, {} waiting; {} bundles, each in the log.\n\
                 root {}, {signed}",
                report.erased, report.waiting, report.bundles, report.root
            ))
        }
        Err(Stopped::Found(finding)) => bail!("the log is not sound: {finding}"),
        Err(Stopped::Failed(error)) => Err(error.context("the log could not be verified")),
    }
}

/// Prints a published document.
async fn print(config: &Config, target: &Target, name: &str) -> anyhow::Result<()> {
    Form::among(target.output.as_deref(), &[])?;
    let client = open(config, target).await?;
    let text = client.answer(name, Map::new()).await;
    client.close().await;
    say(String::from_utf8(text?)?.trim_end())
}

async fn export(client: &Client, filter: &Filter, form: Form) -> anyhow::Result<()> {
    let (mut cursor, mut count) = (Value::Null, 0);
    let bar = progress::beside_output("exporting");
    loop {
        let (name, mut args) = filter.args();
        args.insert("limit".into(), 500.into());
        if !cursor.is_null() {
            args.insert("cursor".into(), cursor);
        }
        let mut page = client.call(name, args).await?;
        for event in page["items"].as_array().into_iter().flatten() {
            say(&in_form(event, form)?)?;
            count += 1;
        }
        bar.set_message(format!("{count} events"));
        cursor = page["next_cursor"].take();
        if cursor.is_null() {
            bar.finish_and_clear();
            return Ok(());
        }
    }
}

async fn tail(
    client: &Client,
    filter: &Filter,
    (lines, follow): (u16, bool),
    form: Form,
) -> anyhow::Result<()> {
    let mut seen: HashSet<String> = HashSet::new();
    let mut most = lines.min(500);
    loop {
        let (name, mut args) = filter.args();
        args.insert("limit".into(), most.max(1).into());
        let page = client.call(name, args).await?;
        let events = page["items"].as_array().cloned().unwrap_or_default();
        let mut ids = HashSet::new();
        for event in events.iter().rev().filter(|_| most > 0) {
            let id = id_of(event);
            if !seen.contains(&id) {
                say(&in_form(event, form)?)?;
            }
            ids.insert(id);
        }
        std::io::stdout().flush()?;
        if !follow {
            return Ok(());
        }
        // The events of the last page are enough to recognize new ones.
        seen = ids;
        most = 500;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn in_form(event: &Value, form: Form) -> anyhow::Result<String> {
    Ok(match form {
        Form::Table => line(event),
        Form::Json => digits::write(event)?,
        Form::Id => id_of(event),
    })
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().unwrap_or_default().to_owned()
}

fn line(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let seq = event["seq"].as_i64().map_or_else(|| "-".to_owned(), |seq| seq.to_string());
    let who = match event["erased_at"].is_null() {
        true => format!("{} {}", text("actor_kind"), text("actor_name")),
        false => "(erased)".to_owned(),
    };
    format!(
        "{} {seq:>8} {:<32} {} {} by {who}",
        text("at"),
        text("action"),
        text("target_type"),
        text("target_id")
    )
}

/// Renders the event, and its changes line by line.
fn shown(event: &Value) -> String {
    let mut text = line(event);
    for name in [
        "id",
        "occurred_at",
        "organization_id",
        "actor_id",
        "actor",
        "reason",
        "request_id",
        "ip",
        "erased_at",
    ] {
        if let Some(value) = event[name].as_str() {
            text.push_str(&format!("\n{name:<16} {value}"));
        }
    }
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &event["before"], &mut before);
    flatten("", &event["after"], &mut after);
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        for (sign, value) in [('-', old), ('+', new)] {
            if let Some(value) = value {
                text.push_str(&format!("\n{sign} {name}: {value}"));
            }
        }
    }
    text
}

/// Collects the leaves of a value by their paths.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, member, into);
            }
        }
        Value::Null if path.is_empty() => {}
        value => {
            into.insert(path.to_owned(), digits::write(value).unwrap_or_default());
        }
    }
}

async fn erase(client: &Client, args: Map<String, Value>) -> anyhow::Result<()> {
    let mut count = 0;
    loop {
        let done = client.call("audit.erase", args.clone()).await?;
        count += done["events"].as_u64().unwrap_or(0);
        if done["is_complete"] == true {
            return say(&format!("{count} events are erased; their leaves stay in the log."));
        }
    }
}
