//! `cp-server events`: prints events, or forwards them to a local program.

use std::str::FromStr;

use anyhow::{Context, bail};
use axum::body::Bytes;
use axum::http::HeaderMap;
use clap::Args;
use cp_contracts::Event;
use serde_json::json;

use super::output::Form;
use super::target::{Target, object_of, open, say};
use crate::client::Client;
use crate::config::Config;
use crate::kernel::clock::Clock;
use crate::kernel::outbound::posting::{Message, Poster};
use crate::kernel::outbound::{ChosenBy, FetchSettings};
use crate::webhooks::messages::signed;
use crate::webhooks::signing::{Signature, SigningSecret};

pub(super) const EXAMPLES: &str = "Examples:
  cp-server events --after -1 --types 'licenses.*'
  cp-server events --follow --org acme
  cp-server events --follow --forward http://127.0.0.1:3000/hook --secret whsec_…";

#[derive(Args)]
pub(super) struct Events {
    /// The organization, by its ID or slug; by default, all of the platform
    #[arg(long)]
    org: Option<String>,
    /// The position after which events begin; -1 for the beginning of the log. By default, only new events with --follow, and all events without it
    #[arg(long, allow_hyphen_values = true)]
    after: Option<i64>,
    /// Types of events, separated by commas, such as licenses.*
    #[arg(long)]
    types: Option<String>,
    /// Continue with new events
    #[arg(long, short)]
    follow: bool,
    /// Send each event to this URL, signed like a webhook, and report the answer
    #[arg(long, value_name = "URL", requires = "secret")]
    forward: Option<String>,
    /// The secret that signs, with the prefix whsec_
    #[arg(long, env = "CP_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
}

/// A local program that receives events.
struct Forward {
    url: String,
    poster: Poster,
    secrets: [SigningSecret; 1],
}

pub(super) async fn run(config: &Config, target: &Target, events: Events) -> anyhow::Result<()> {
    let forward = events.forward.as_deref().map(|url| {
        let secret = SigningSecret::from_str(events.secret.as_deref().unwrap_or_default())?;
        let settings = FetchSettings { allow_loopback: true, ..FetchSettings::default() };
        let poster = Poster::new(settings);
        let checked = poster.check(url, ChosenBy::Operator);
        checked.map_err(|reason| anyhow::anyhow!("--forward: {reason}"))?;
        anyhow::Ok(Forward { url: url.to_owned(), poster, secrets: [secret] })
    });
    let forward = forward.transpose()?;
    let form = match &forward {
        Some(_) => Form::among(target.output.as_deref(), &[])?.unwrap_or(Form::Table),
        None => Form::of(target.output.as_deref())?,
    };
    let client = open(config, target).await?;
    let done = follow(&client, &events, forward.as_ref(), form).await;
    client.close().await;
    done
}

async fn follow(
    client: &Client,
    events: &Events,
    forward: Option<&Forward>,
    form: Form,
) -> anyhow::Result<()> {
    let operation = if events.org.is_some() { "events.list" } else { "events.list_all" };
    let mut after = match events.after {
        None if events.follow => None,
        after => Some(after.unwrap_or(-1)),
    };
    loop {
        let wait = if events.follow { 25 } else { 0 };
        let args = object_of(json!({
            "org": events.org, "types": events.types, "after": after, "wait": wait, "limit": 500,
        }));
        let page = client.call(operation, args).await?;
        let items: Vec<Event> =
            serde_json::from_value(page["items"].clone()).context("the answer has no events")?;
        for event in items {
            match (forward, form) {
                (Some(forward), _) => say(&forward.send(event).await?)?,
                (None, Form::Table) => say(&line(&event))?,
                (None, Form::Json) => say(&serde_json::to_string(&event)?)?,
                (None, Form::Id) => say(&event.id.to_string())?,
            }
        }
        after = page["next"].as_i64();
        if after.is_none() {
            bail!("the answer has no position");
        }
        if !events.follow && page["next"] == page["head"] {
            return Ok(());
        }
    }
}

/// Describes an event in one line.
fn line(event: &Event) -> String {
    let id = event.target.id.as_deref().unwrap_or_default();
    let at = event.at.format("%F %T");
    let changed = if event.changed.is_empty() {
        String::new()
    } else {
        format!("  [{}]", event.changed.join(", "))
    };
    format!(
        "{:>8}  {at}  {}  {} {id}  by {}{changed}",
        event.seq, event.kind, event.target.kind, event.actor.name
    )
}

impl Forward {
    /// Sends an event, and describes the answer.
    async fn send(&self, event: Event) -> anyhow::Result<String> {
        let (seq, kind) = (event.seq, event.kind.clone());
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        let (url, chosen_by) = (self.url.clone(), ChosenBy::Operator);
        let unsigned = Message { url, chosen_by, headers, body };
        let now = Clock::system().now();
        let message = signed(unsigned, event, (Signature::Hmac, &self.secrets), now)?;
        let result = match self.poster.post(message).await {
            Ok(receipt) => receipt.status.as_u16().to_string(),
            Err(error) => error.to_string(),
        };
        Ok(format!("{seq:>8}  {kind} -> {result}"))
    }
}
