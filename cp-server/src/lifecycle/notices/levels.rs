//! Levels: the percentages of a cap or a limit that were announced.
//!
//! A percentage is announced once it is reached, and again after the use was 5 points below it. After a
//! jump only the highest one is announced. Each change of a row names the revision that was read, so that
//! of two replicas one announces.

use std::cmp::Ordering;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::rows::{KEPT, is_wanted};
use crate::kernel::access::caller::Caller;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::effect::Effect;
use crate::kernel::error::Result;
use crate::kernel::journal::record::{Entry, append};

/// The points below a percentage from which it is announced again.
const POINTS: i64 = 5;

/// What was announced of a subject.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Known {
    subject: Uuid,
    basis: String,
    level: i64,
    revision: i64,
}

/// A change of a level, with the event of a higher one.
pub(super) struct Change {
    pub(super) subject: Uuid,
    pub(super) kind: &'static str,
    pub(super) basis: String,
    pub(super) level: i64,
    pub(super) known: Option<Known>,
    pub(super) entry: Entry<'static>,
}

impl Known {
    /// Returns the level that was announced for this basis.
    pub(super) fn level(known: Option<&Self>, basis: &str) -> i64 {
        known.filter(|known| known.basis == basis).map_or(0, |known| known.level)
    }
}

/// Returns the level after the one before: the highest percentage that is reached, or that was and has not
/// been left by 5 points.
pub(super) fn next(before: i64, percentages: &[i64], cmp: impl Fn(i64) -> Ordering) -> i64 {
    let is_reached = |percent: i64| cmp(percent) != Ordering::Less;
    let is_kept = |percent: i64| percent <= before && cmp(percent - POINTS) == Ordering::Greater;
    let reached = percentages.iter().copied().filter(|one| is_reached(*one) || is_kept(*one));
    reached.max().unwrap_or(0)
}

/// Returns what was announced of these subjects.
pub(super) async fn known(
    tx: &mut Conn,
    kind: &'static str,
    subjects: &[Uuid],
) -> Result<HashMap<Uuid, Known>> {
    if subjects.is_empty() {
        return Ok(HashMap::new());
    }
    let query = tx.q("SELECT subject, basis, level, revision FROM notice_levels WHERE kind = $1");
    let query = query.bind(kind).sql(" AND subject IN ").rows([subjects], |query, subjects| {
        subjects.iter().fold(query, |query, subject| query.bind(*subject))
    });
    let rows: Vec<Known> = query.all().await?;
    Ok(rows.into_iter().map(|row| (row.subject, row)).collect())
}

/// Stores changes with the events of higher levels. A level that another replica has changed since it was
/// read stays.
pub(super) async fn store(app: &App, changes: Vec<Change>) -> Result<()> {
    let is_change = |change: &Change| match &change.known {
        Some(known) => (&known.basis, known.level) != (&change.basis, change.level),
        None => change.level > 0,
    };
    let changes: Vec<Change> = changes.into_iter().filter(is_change).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let mut cx = app.change(Caller::system("notices")).await?;
    let mut entries = Vec::new();
    for change in changes {
        let before = Known::level(change.known.as_ref(), &change.basis);
        let written = write(&mut cx.tx, &change, app.clock.now()).await?;
        let entry = change.entry;
        if written
            && change.level > before
            && is_wanted(&mut cx.tx, entry.organization, entry.action).await?
        {
            entries.push(entry);
        }
    }
    append(&mut cx, entries).await?;
    cx.commit(Effect::Harmless).await
}

async fn write(tx: &mut Conn, change: &Change, now: DateTime<Utc>) -> Result<bool> {
    let sql = match change.known {
        Some(_) => {
            "UPDATE notice_levels
             SET basis = $3, level = $4, revision = $6 + 1, updated_at = $5
             WHERE subject = $1 AND kind = $2 AND revision = $6
               AND EXISTS (SELECT 1 FROM organizations WHERE id = $7)"
        }
        None => {
            "INSERT INTO notice_levels
             (subject, kind, basis, level, updated_at, revision, organization_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (subject, kind) DO NOTHING"
        }
    };
    let write = tx.q(sql).bind(change.subject).bind(change.kind).bind(&*change.basis);
    let write = write.bind(change.level).bind(now);
    let write = write.bind(change.known.as_ref().map_or(0, |known| known.revision));
    Ok(write.bind(change.entry.organization).exec().await? > 0)
}

/// Deletes levels of subjects that do not exist any more.
pub(super) async fn forget(app: &App, now: DateTime<Utc>) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let sql = "DELETE FROM notice_levels
               WHERE updated_at < $1
                 AND NOT EXISTS (SELECT 1 FROM usage_limits l WHERE l.id = notice_levels.subject)
                 AND NOT EXISTS (SELECT 1 FROM lease_pools p
                                 WHERE p.id = notice_levels.subject AND p.closed_at IS NULL)";
    tx.q(sql).bind(now - KEPT).exec().await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(before: i64, percentages: &[i64], percent: i64) -> i64 {
        next(before, percentages, |other| percent.cmp(&other))
    }

    #[test]
    fn level_is_announced_again_after_five_points_below() {
        let at = |before, percent| step(before, &[50, 90], percent);
        assert_eq!([at(0, 49), at(0, 50), at(0, 89), at(0, 95)], [0, 50, 50, 90]);
        assert_eq!([at(90, 89), at(90, 86), at(90, 85), at(90, 45)], [90, 90, 50, 0]);
        assert_eq!([at(50, 46), at(50, 45), at(50, 90)], [50, 0, 90]);
    }

    proptest! {
        /// Each rise of the level is to a percentage that is reached, and each fall leaves 5 points.
        #[test]
        fn levels_rise_when_reached_and_fall_below(uses in prop::collection::vec(0_i64..130, 1..60)) {
            let (percentages, mut level) = ([3, 50, 80, 100], 0);
            for percent in uses {
                let after = step(level, &percentages, percent);
                if after > level {
                    prop_assert!(percent >= after);
                    prop_assert!(percentages.iter().all(|one| *one <= after || percent < *one));
                }
                if after < level {
                    prop_assert!(percent <= level - POINTS);
                }
                level = after;
            }
        }
    }
}
