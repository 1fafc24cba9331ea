//! The runs of the job: its first one, its pauses, and those that one replica makes for all.

use chrono::{DateTime, TimeDelta, Utc};

use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};

/// The job has paused after this time without a run. It is less than three check-ins of the shortest
/// tokens.
const PAUSE: TimeDelta = TimeDelta::minutes(30);
/// The clocks of replicas and their jobs differ by less.
const SLACK: TimeDelta = TimeDelta::seconds(5);

/// Returns the instant from which ends are announced: the first run of this job.
pub(super) async fn begun(app: &App) -> Result<DateTime<Utc>> {
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

/// Notes that the job runs. Returns the instant from which it has run without a pause, on any replica.
pub(super) async fn beat(app: &App) -> Result<DateTime<Utc>> {
    let now = app.clock.now();
    take(app, "notices", TimeDelta::seconds(60)).await?;
    let sql = "SELECT since FROM notice_runs WHERE name = 'notices'";
    Ok(app.db.read().q(sql).value().await?.unwrap_or(now))
}

/// Returns whether this replica makes the next run of this name: one of all replicas does, when the last
/// run is as old as `every`. A last run that is ahead is from a clock that was set back.
pub(super) async fn take(app: &App, name: &'static str, every: TimeDelta) -> Result<bool> {
    let now = app.clock.now();
    let due = now - every + SLACK;
    let mut tx = app.db.read();
    let last = tx.q("SELECT at FROM notice_runs WHERE name = $1").bind(name);
    let last: Option<DateTime<Utc>> = last.value().await?;
    drop(tx);
    if last.is_some_and(|at| at > due && at <= now + SLACK) {
        return Ok(false);
    }
    let mut tx = app.db.begin().await?;
    let sql = "INSERT INTO notice_runs (name, at, since) VALUES ($1, $2, $2)
               ON CONFLICT (name) DO UPDATE
               SET since = CASE WHEN notice_runs.at < $3 THEN excluded.since ELSE notice_runs.since END,
                   at = excluded.at
               WHERE notice_runs.at <= $4 OR notice_runs.at > $5";
    let write = tx.q(sql).bind(name).bind(now).bind(now - PAUSE).bind(due).bind(now + SLACK);
    let taken = write.exec().await? > 0;
    tx.commit().await?;
    Ok(taken)
}
