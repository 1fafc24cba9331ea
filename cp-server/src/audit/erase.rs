//! Erasure: removes the content of events and keeps their leaves.
//!
//! An erasure removes an event's personal content and its salt, so that its commitment reveals
//! nothing either. The leaf, the tree and every proof stay unchanged. An erasure is itself an event
//! whose leaf names the erased positions. Verification reports content that is missing without such
//! an event.

use std::ops::Range;

use anyhow::Context;
use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::integrator;
use super::ranges::Ranges;
use crate::kernel::access::caller::{Caller, Scope};
use crate::kernel::access::ids::{AuditEventId, UserId};
use crate::kernel::access::platform::Platform;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::declaration;
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::journal::leaf::ERASED;
use crate::kernel::journal::store;
use crate::kernel::journal::store::Erasable;
use crate::kernel::text::Explanation;

crate::routes! { audit:
    /// Erases the content of audit events: those that concern a person, or single ones.
    ///
    /// The members in the log's leaf remain: the action, the time, and the target's ID. Proofs
    /// still verify. The person's leases end, borrowed ones at the end of the borrowing. They lose their
    /// holder, label and values, and webhooks lose the person's address. One request erases at most
    /// 5,000 events; repeat it until `is_complete` is true.
    POST "/audit/erasures" AUDIT_ERASE => erase, own_transaction;
}

const AT_MOST: usize = 5000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewErasure {
    /// All events that this person caused or that name them, by ID or e-mail address.
    user: Option<UserId>,
    /// The IDs of single events.
    #[serde(default)]
    #[schemars(length(max = 5000))]
    events: Vec<AuditEventId>,
    /// The reason; the server records it.
    reason: Option<Explanation>,
}

/// The result of an erasure.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Erasure {
    /// The number of erased events.
    events: usize,
    /// Whether all requested events are erased.
    is_complete: bool,
}

impl Resource for Erasure {
    const NOUN: &'static str = ERASED;
    const PATH: &'static str = "audit";
    fn name(&self) -> String {
        String::new()
    }
}

async fn erase(cx: &mut Cx<Scope>, _: Platform, asked: NewErasure) -> Result<Created<Erasure>> {
    if asked.user.is_some() != asked.events.is_empty() {
        return Err(Error::invalid("user", "Either `user` or `events` is required, not both."));
    }
    if asked.events.len() > AT_MOST {
        let count = asked.events.len();
        let detail = format!("`events` must have at most {AT_MOST} entries (got {count}).");
        return Err(Error::invalid("events", detail));
    }
    // A search of the whole log must not hold the writer: the transaction searches what is newer.
    let size = store::size(&mut cx.tx).await?;
    let named = match asked.user {
        Some(user) => {
            let found = that_concern(&mut cx.tx, user, 0..size).await?;
            found.into_iter().map(|event| event.facts.id).collect()
        }
        None => asked.events,
    };
    cx.begin().await?;
    if let Some(user) = asked.user {
        for erase in declaration::all().iter().filter_map(|one| one.erase) {
            erase.run(&mut cx.tx, user, cx.now).await?;
        }
    }
    integrator::place_now(&mut cx.tx).await?;
    let mut events = store::erasable(&mut cx.tx, &named).await?;
    match asked.user {
        Some(user) => events.extend(that_concern(&mut cx.tx, user, size..i64::MAX).await?),
        None if events.len() < named.len() => {
            return Err(Error::not_found("audit event").at("events"));
        }
        None => {}
    }
    let is_complete = events.len() <= AT_MOST;
    events.truncate(AT_MOST);
    let (places, count) = take_content(cx, &mut events).await?;
    cx.audit.reason = asked.reason.map(Explanation::into_string);
    cx.audit.target = Some((ERASED, places.to_string()));
    cx.audit.after = Some(json!({"events": count}));
    Ok(Created(Erasure { events: count, is_complete }))
}

/// Erases the events that still have content. Returns their positions and their number.
async fn take_content<G>(cx: &mut Cx<G>, events: &mut Vec<Erasable>) -> Result<(Ranges, usize)> {
    events.retain(|event| event.has_content && event.seq.is_some());
    events.sort_by_key(|event| event.seq);
    let mut places = Ranges::default();
    for event in &*events {
        if let Some(seq) = event.seq.and_then(|seq| u64::try_from(seq).ok()) {
            store::erase(&mut cx.tx, &event.facts, cx.now).await?;
            places.add(seq, seq);
        }
    }
    Ok((places, events.len()))
}

/// Returns the events at these positions that a person caused or that name them: at most one more
/// than one request erases.
async fn that_concern(tx: &mut Conn, user: UserId, positions: Range<i64>) -> Result<Vec<Erasable>> {
    let sql = "SELECT email_key FROM users WHERE id = $1";
    let email: Option<String> = tx.q(sql).bind(user).value().await?;
    let pattern = |text: &str| {
        let mut pattern = String::from("%");
        for c in text.to_lowercase().chars() {
            if matches!(c, '%' | '_' | '!') {
                pattern.push('!');
            }
            pattern.push(c);
        }
        pattern + "%"
    };
    let id = pattern(&user.to_string());
    let email = email.map_or_else(|| id.clone(), |email| pattern(&email));
    let sql = "(SELECT *, LOWER(target_id || ' ' || actor_name || ' ' || COALESCE(actor, '') || ' '
                    || COALESCE(reason, '') || ' ' || CAST(before AS TEXT) || ' '
                    || CAST(after AS TEXT) || ' ' || COALESCE(CAST(metadata AS TEXT), '')) AS words
                FROM audit_events
                WHERE salt IS NOT NULL AND seq >= $4 AND seq < $5) AS searched
               WHERE actor_id = $1 OR words LIKE $2 ESCAPE '!' OR words LIKE $3 ESCAPE '!'
               ORDER BY seq LIMIT 5001";
    let query = tx.select_from::<Erasable>(Erasable::COLUMNS, sql);
    let query = query.bind(user).bind(id).bind(email);
    Ok(query.bind(positions.start).bind(positions.end).all().await?)
}

/// Erases the events that are older than the setting allows.
pub async fn expire(app: &App) -> anyhow::Result<()> {
    let Some(retention) = Retention::of(app).0 else { return Ok(()) };
    loop {
        let mut cx = app.change(Caller::system("retention")).await?;
        let oldest = cx.now.checked_sub_signed(retention).context("CP_AUDIT_RETENTION_DAYS")?;
        integrator::place_now(&mut cx.tx).await?;
        let mut events = older_than(&mut cx.tx, oldest).await?;
        let is_complete = events.len() <= AT_MOST;
        events.truncate(AT_MOST);
        if events.is_empty() {
            return Ok(());
        }
        let (places, count) = take_content(&mut cx, &mut events).await?;
        cx.audit.after = Some(json!({"events": count, "older_than": oldest}));
        let target = (ERASED, places.to_string());
        cx.finish("audit.expire", None, target, Effect::Harmless).await?;
        if is_complete {
            return Ok(());
        }
    }
}

async fn older_than(tx: &mut Conn, oldest: chrono::DateTime<chrono::Utc>) -> Result<Vec<Erasable>> {
    let sql = "audit_events WHERE seq IS NOT NULL AND salt IS NOT NULL AND at < $1
               ORDER BY seq LIMIT 5001";
    Ok(tx.select_from::<Erasable>(Erasable::COLUMNS, sql).bind(oldest).all().await?)
}

/// How long the server keeps the content of events; permanently when `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention(pub Option<TimeDelta>);

impl Part for Retention {}
