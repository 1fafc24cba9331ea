//! Notices: events that announce ends, before them and at them.
//!
//! # Design
//! A job of every replica looks for ends that come near. A notice and its event are one transaction, and
//! a unique index lets one replica write it. So each end is announced once for each threshold, also after
//! the job stood still: then only the nearest threshold is announced. Another end of the same subject is
//! announced again.
//!
//! `subjects.rs` lists what has ends.

mod subjects;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use self::subjects::{SUBJECTS, Subject};
use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::db::record::Object;
use crate::kernel::declaration::{Declaration, Export, Happening};
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::journal::record::{Entry, append};

pub static DECLARATION: Declaration = Declaration::of_organization(
    "notices",
    "notice",
    Export::LeftOut("the audit events are exported, which have every notice"),
)
.events(&[
    Happening { action: "licenses.expiring", doc: "A license ends in some days." },
    Happening {
        action: "licenses.expire",
        doc: "A license has reached its end; its grace begins.",
    },
    Happening { action: "licenses.grace_end", doc: "The grace of a license has ended." },
    Happening { action: "subscriptions.ending", doc: "A subscription ends in some days." },
    Happening { action: "subscriptions.end", doc: "A subscription has ended." },
    Happening { action: "subscriptions.trial_ending", doc: "A trial ends in some days." },
    Happening { action: "subscriptions.trial_end", doc: "A trial has ended." },
    Happening { action: "service_tokens.expiring", doc: "A service token ends in some days." },
    Happening { action: "license_keys.expiring", doc: "A license key ends in some days." },
]);

/// Ends that are further back are not announced any more.
const LOOKBACK: TimeDelta = TimeDelta::days(90);
/// How long notices are kept, so that no end is announced twice.
const KEPT: TimeDelta = TimeDelta::days(400);
/// The most notices of one transaction.
const BATCH: i64 = 100;

/// The days before an end at which it is announced.
#[derive(Clone, Debug)]
pub struct NoticeDays(pub Vec<i64>);

impl Default for NoticeDays {
    fn default() -> Self {
        Self(vec![30, 14, 7, 1])
    }
}

impl Part for NoticeDays {}

/// A subject whose end may have to be announced.
#[derive(sqlx::FromRow)]
struct Ending {
    id: Uuid,
    organization_id: Option<OrganizationId>,
    created_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    settings: Option<Object>,
}

/// The settings of an organization for its notices.
#[derive(Default, Deserialize)]
struct Wishes {
    /// The days before an end, at most the longest of the platform.
    days: Option<Vec<i64>>,
    /// Types that are not wanted.
    #[serde(default)]
    off: Vec<String>,
}

/// A notice that is due.
struct Due {
    ending: Ending,
    action: &'static str,
    threshold: i64,
    next_at: Option<DateTime<Utc>>,
}

/// Announces the ends that have come near. Every replica may call it.
pub async fn announce(app: &App) -> anyhow::Result<()> {
    let begun = begun(app).await?;
    for subject in SUBJECTS {
        announce_all(app, subject, begun).await?;
    }
    Ok(())
}

/// Announces the ends of one kind.
async fn announce_all(app: &App, subject: &Subject, begun: DateTime<Utc>) -> Result<()> {
    let now = app.clock.now();
    let days = subject.days.unwrap_or(&NoticeDays::of(app).0);
    let until = now + TimeDelta::days(days.iter().copied().max().unwrap_or(0));
    // What is not announced at its end is not looked for afterwards.
    let from = if subject.at_end.is_some() { begun.max(now - LOOKBACK) } else { now };
    let mut after = (from, Uuid::max());
    loop {
        let mut tx = app.db.read();
        let query = tx.q(subject.sql).bind(after.0).bind(after.1).bind(until);
        let endings: Vec<Ending> = query.bind(subject.kind).bind(now).bind(BATCH).all().await?;
        drop(tx);
        let Some(last) = endings.last() else { return Ok(()) };
        after = (last.ends_at, last.id);
        let judged = endings.into_iter().filter_map(|ending| judge(subject, ending, days, now));
        let due: Vec<Due> = judged.collect();
        if !due.is_empty() {
            store(app, subject, due, now).await?;
        }
    }
}

/// Stores notices with their events.
async fn store(app: &App, subject: &Subject, due: Vec<Due>, now: DateTime<Utc>) -> Result<()> {
    let mut cx = app.change(Caller::system("notices")).await?;
    let mut entries = Vec::new();
    for Due { ending, action, threshold, next_at } in due {
        let sql = "INSERT INTO notices
                   (id, organization_id, subject, kind, basis, threshold, next_at, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                   ON CONFLICT (subject, kind, basis, threshold) DO NOTHING";
        let insert = cx
            .tx
            .q(sql)
            .bind(app.random.uuid(now))
            .bind(ending.organization_id)
            .bind(ending.id)
            .bind(subject.kind)
            .bind(ending.ends_at)
            .bind(i32::try_from(threshold).unwrap_or(i32::MAX))
            .bind(next_at)
            .bind(now);
        // Another replica was faster, or the organization wants no such notice.
        if insert.exec().await? == 0 || wishes(&ending).off.iter().any(|off| off == action) {
            continue;
        }
        entries.push(Entry {
            action,
            organization: ending.organization_id,
            target: (subject.noun, ending.id.to_string()),
            before: None,
            after: Some(json!({"ends_at": ending.ends_at, "days": threshold})),
            reason: None,
            issued: None,
        });
    }
    append(&mut cx, entries).await?;
    cx.commit(Effect::Harmless).await
}

/// Decides which notice of an end is due: the nearest threshold that has passed. A threshold that had
/// passed when the subject was created is no news.
fn judge(subject: &Subject, ending: Ending, standard: &[i64], now: DateTime<Utc>) -> Option<Due> {
    let own = wishes(&ending).days.filter(|_| subject.days.is_none());
    let at = |day: i64| ending.ends_at - TimeDelta::days(day);
    let days = own.as_deref().unwrap_or(standard).iter().copied();
    let days: BTreeSet<i64> = days.filter(|day| *day > 0 && at(*day) > ending.created_at).collect();
    if ending.ends_at <= now {
        let action = subject.at_end?;
        return Some(Due { ending, action, threshold: 0, next_at: None });
    }
    let action = subject.before?;
    let threshold = days.iter().copied().find(|day| at(*day) <= now)?;
    let next = days.range(..threshold).next_back().copied();
    let next = next.or(subject.at_end.map(|_| 0));
    let next_at = next.map(at);
    Some(Due { ending, action, threshold, next_at })
}

fn wishes(ending: &Ending) -> Wishes {
    let settings = ending.settings.as_ref().and_then(|settings| settings.get("notifications"));
    settings.and_then(|own| serde_json::from_value(own.clone()).ok()).unwrap_or_default()
}

/// Returns the instant from which ends are announced: the first run of this job.
async fn begun(app: &App) -> Result<DateTime<Utc>> {
    let find = async |tx: &mut Conn| -> Result<Option<DateTime<Utc>>> {
        Ok(tx.q("SELECT at FROM notices_begun WHERE id = 1").value().await?)
    };
    if let Some(at) = find(&mut app.db.read()).await? {
        return Ok(at);
    }
    let mut tx = app.db.begin().await?;
    let sql = "INSERT INTO notices_begun (id, at) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
    tx.q(sql).bind(app.clock.now()).exec().await?;
    let at = find(&mut tx).await?;
    tx.commit().await?;
    at.ok_or_else(|| Error::internal(anyhow::anyhow!("notices_begun has no row")))
}

/// Deletes notices of ends that are long past.
pub async fn forget(app: &App) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    let sql = "DELETE FROM notices WHERE created_at < $1 AND basis < $2";
    let now = app.clock.now();
    tx.q(sql).bind(now - KEPT).bind(now - LOOKBACK).exec().await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUBJECT: Subject = Subject {
        kind: "licenses",
        noun: "license",
        before: Some("licenses.expiring"),
        at_end: Some("licenses.expire"),
        days: None,
        sql: "",
    };

    fn ending(ends_at: DateTime<Utc>) -> Ending {
        let created_at = DateTime::UNIX_EPOCH;
        Ending { id: Uuid::nil(), organization_id: None, created_at, ends_at, settings: None }
    }

    proptest! {
        /// A clock that moves in any steps announces each threshold at most once, in their order, and
        /// the end exactly once.
        #[test]
        fn thresholds_are_announced_once_and_in_order(steps in prop::collection::vec(1_i64..4000, 1..80)) {
            let end = DateTime::UNIX_EPOCH + TimeDelta::days(60);
            let (mut now, mut next_at) = (DateTime::UNIX_EPOCH, None);
            let mut announced = Vec::new();
            for minutes in steps {
                now += TimeDelta::minutes(minutes);
                if next_at.is_some_and(|next| next > now) || announced.last() == Some(&0) {
                    continue;
                }
                if let Some(due) = judge(&SUBJECT, ending(end), &[30, 14, 7, 1], now) {
                    let nearest = [0, 1, 7, 14, 30].into_iter().find(|day| end - TimeDelta::days(*day) <= now);
                    prop_assert_eq!(Some(due.threshold), nearest);
                    next_at = due.next_at;
                    announced.push(due.threshold);
                }
            }
            prop_assert!(announced.windows(2).all(|pair| pair[0] > pair[1]), "{:?}", announced);
            if now >= end {
                prop_assert_eq!(announced.last(), Some(&0));
            }
        }
    }
}
