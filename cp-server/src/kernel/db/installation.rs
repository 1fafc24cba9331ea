//! Single values of the installation. The first replica sets each of them once.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;

use crate::kernel::clock::Clock;
use crate::kernel::completion::to_the_end;
use crate::kernel::db::{Conn, Db};
use crate::kernel::error::{Error, Result};

/// The size of a trial write into a file, in bytes: more than a change needs. A smaller one might
/// fit into space that a failed change left allocated.
const TRIAL: usize = 64 * 1024;

/// How long the outcome of a trial is reused. Readiness needs no credential, and a trial occupies
/// the writer and waits for the disk.
const TRIAL_HOLDS: Duration = Duration::from_secs(1);

/// Checks whether the database accepts changes, at most once a second for all callers.
#[derive(Debug, Default)]
pub struct Trial(Mutex<Option<Tried>>);

#[derive(Debug)]
struct Tried {
    at: Instant,
    /// The reason why the database refused the trial.
    refusal: Option<String>,
}

impl Trial {
    /// Writes a trial value, unless that happened within the last second. Concurrent callers wait
    /// for the same outcome.
    ///
    /// # Errors
    /// Fails with 503 when the database does not accept the change.
    pub async fn write(&self, db: &Db, clock: &Clock) -> Result<()> {
        let mut last = self.0.lock().await;
        if let Some(tried) = &*last
            && tried.at.elapsed() < TRIAL_HOLDS
        {
            let refusal = tried.refusal.clone();
            return refusal.map_or(Ok(()), |detail| Err(Error::unavailable(detail, 5)));
        }
        let at = Instant::now();
        let (db, now) = (db.clone(), clock.now());
        let done = to_the_end(async move { try_write(&db, now).await }).await;
        let refusal = done.as_ref().err().map(|error| error.detail().to_owned());
        *last = Some(Tried { at, refusal });
        done
    }
}

/// The name of a value that exists while a restore is not finished.
pub const RESTORING: &str = "restoring";

/// Marks a PostgreSQL database as one whose restore is not finished.
pub const MARK_AS_RESTORING: &str =
    "INSERT INTO installation (name, value) VALUES ('restoring', '')";

/// Refuses a database whose restore is not finished.
pub async fn check_whole(db: &Db) -> anyhow::Result<()> {
    anyhow::ensure!(
        value(&mut db.read(), RESTORING).await?.is_none(),
        "the restore into this database was interrupted: restore again into an empty database"
    );
    Ok(())
}

/// Writes like a change, and fails where the database refuses changes. A statement that changes
/// nothing would write nothing, and would not notice a full disk.
async fn try_write(db: &Db, now: DateTime<Utc>) -> Result<()> {
    // PostgreSQL's log is on another machine; the size of a change does not matter there.
    let size = if matches!(db, Db::Sqlite { .. }) { TRIAL } else { 8 };
    let value = now.timestamp_micros().to_be_bytes().repeat(size / 8);
    let mut tx = db.begin().await?;
    let sql = "INSERT INTO installation (name, value) VALUES ('trial', $1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.q(sql).bind(value).exec().await?;
    tx.commit().await?;
    Ok(())
}

/// Sets the value unless it is set. Returns whether this caller was the first. A replica that does
/// the same concurrently waits for the end of this transaction.
pub async fn set_first(tx: &mut Conn, name: &str, value: &[u8]) -> sqlx::Result<bool> {
    let sql =
        "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    Ok(tx.q(sql).bind(name).bind(value).exec().await? == 1)
}

/// Sets the value, whether or not it is set.
pub async fn set(tx: &mut Conn, name: &str, value: &[u8]) -> sqlx::Result<()> {
    let sql = "INSERT INTO installation (name, value) VALUES ($1, $2)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.q(sql).bind(name).bind(value).exec().await?;
    Ok(())
}

pub async fn replace(tx: &mut Conn, name: &str, value: &[u8]) -> sqlx::Result<()> {
    tx.q("UPDATE installation SET value = $2 WHERE name = $1")
        .bind(name)
        .bind(value)
        .exec()
        .await?;
    Ok(())
}

pub async fn remove(tx: &mut Conn, name: &str) -> sqlx::Result<()> {
    tx.q("DELETE FROM installation WHERE name = $1").bind(name).exec().await?;
    Ok(())
}

pub async fn value(tx: &mut Conn, name: &str) -> sqlx::Result<Option<Vec<u8>>> {
    tx.q("SELECT value FROM installation WHERE name = $1").bind(name).value().await
}

/// Locks the value until the end of the transaction, so that work under it happens one at a time.
pub async fn hold(tx: &mut Conn, name: &str) -> sqlx::Result<Option<Vec<u8>>> {
    let held = tx.q2(
        "SELECT value FROM installation WHERE name = $1",
        "SELECT value FROM installation WHERE name = $1 FOR UPDATE",
    );
    held.bind(name).value().await
}
