//! Ends: what has come near its end, or has reached it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::rows::{LOOKBACK, Notice, Wishes, longest, store};
use super::settings::NoticeDays;
use super::subjects::{SUBJECTS, Subject};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::record::Object;
use crate::kernel::error::Result;
use crate::kernel::journal::record::Entry;

/// The most notices of one transaction.
const BATCH: i64 = 100;
/// The longest time that a deployment has for a contact after this job has paused.
const GRACE: TimeDelta = TimeDelta::hours(36);

/// A subject whose end may have to be announced.
#[derive(sqlx::FromRow)]
struct Ending {
    id: Uuid,
    organization_id: Option<OrganizationId>,
    created_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    settings: Option<Object>,
    /// The object that the event names, if it is not the subject.
    target: Option<Uuid>,
    /// The end that the event has, if it is not the one that is looked for.
    shown_at: Option<DateTime<Utc>>,
    /// The last contact with a deployment.
    seen_at: Option<DateTime<Utc>>,
}

/// A threshold that is due.
struct Due {
    action: &'static str,
    threshold: i64,
    next_at: Option<DateTime<Utc>>,
}

/// Announces the ends that have come near. The first run of the job was at `begun`, and it has run without
/// a pause since `running_since`.
pub(super) async fn announce(
    app: &App,
    begun: DateTime<Utc>,
    running_since: DateTime<Utc>,
) -> Result<()> {
    let longest = longest(&mut app.db.read()).await?;
    for subject in SUBJECTS {
        announce_all(app, subject, longest, begun, running_since).await?;
    }
    Ok(())
}

/// Announces the ends of one kind. An organization may choose more days before an end than the platform:
/// the longest of them decides how far ahead ends are looked for.
async fn announce_all(
    app: &App,
    subject: &Subject,
    longest: i64,
    begun: DateTime<Utc>,
    running_since: DateTime<Utc>,
) -> Result<()> {
    let now = app.clock.now();
    let days = subject.days.unwrap_or(&NoticeDays::of(app).0);
    let own = if subject.days.is_none() { longest } else { 0 };
    let until = now + TimeDelta::days(days.iter().copied().chain([own]).max().unwrap_or(0));
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
        let is_news = |ending: &Ending| !subject.waits || is_missed(ending, running_since, now);
        let judged = endings.into_iter().filter(is_news).filter_map(|ending| {
            let due = judge(subject, &ending, days, now)?;
            Some(notice(subject, ending, due))
        });
        store(app, judged.collect()).await?;
    }
}

/// Returns whether a deployment had the time for a contact since this job runs: while the server was down,
/// none could reach it.
fn is_missed(ending: &Ending, running_since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let patience = ending.seen_at.map_or(GRACE, |seen| (ending.ends_at - seen).min(GRACE));
    running_since + patience <= now
}

fn notice(subject: &Subject, ending: Ending, due: Due) -> Notice {
    let Due { action, threshold, next_at } = due;
    let ends_at = ending.shown_at.unwrap_or(ending.ends_at);
    let after = match subject.waits {
        true => json!({"last_seen_at": ending.seen_at}),
        false => json!({"ends_at": ends_at, "days": threshold}),
    };
    Notice {
        subject: ending.id,
        kind: subject.kind,
        basis: ending.ends_at,
        threshold,
        next_at,
        entry: Entry {
            action,
            organization: ending.organization_id,
            target: (subject.noun, ending.target.unwrap_or(ending.id).to_string()),
            before: None,
            after: Some(after),
            reason: None,
            issued: None,
        },
    }
}

/// Decides which notice of an end is due: the nearest threshold that has passed. A threshold that had
/// passed when the subject was created is no news, and neither is an end before the creation, such as that of an
/// imported license.
fn judge(subject: &Subject, ending: &Ending, standard: &[i64], now: DateTime<Utc>) -> Option<Due> {
    let own = Wishes::of(ending.settings.as_ref()).days.filter(|_| subject.days.is_none());
    let at = |day: i64| ending.ends_at - TimeDelta::days(day);
    let days = own.as_deref().unwrap_or(standard).iter().copied();
    let days: BTreeSet<i64> = days.filter(|day| *day > 0 && at(*day) > ending.created_at).collect();
    if ending.ends_at <= now {
        let action = subject.at_end.filter(|_| ending.ends_at > ending.created_at)?;
        return Some(Due { action, threshold: 0, next_at: None });
    }
    let action = subject.before?;
    let threshold = days.iter().copied().find(|day| at(*day) <= now)?;
    let next = days.range(..threshold).next_back().copied();
    let next = next.or(subject.at_end.map(|_| 0));
    let next_at = next.map(at);
    Some(Due { action, threshold, next_at })
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
        waits: false,
        sql: "",
    };

    fn ending(ends_at: DateTime<Utc>) -> Ending {
        let created_at = DateTime::UNIX_EPOCH;
        Ending {
            id: Uuid::nil(),
            organization_id: None,
            created_at,
            ends_at,
            settings: None,
            target: None,
            shown_at: None,
            seen_at: None,
        }
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
                if let Some(due) = judge(&SUBJECT, &ending(end), &[30, 14, 7, 1], now) {
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
