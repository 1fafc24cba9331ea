//! Single values of the installation, each set once, by whichever replica is first.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;

use crate::kernel::clock::Clock;
use crate::kernel::completion::to_the_end;
use crate::kernel::db::{Conn, Db};
use crate::kernel::error::{Error, Result};

/// How many bytes a trial writes into a file: more than a change does. A smaller one might fit into
/// what a change that failed for want of room has left allocated.
const TRIAL: usize = 64 * 1024;

/// For how long the outcome of a trial answers all who ask: readiness is asked for without a
/// credential, and a trial takes the writer and waits for the disk.
const TRIAL_HOLDS: Duration = Duration::from_secs(1);

/// Whether the database accepts changes, tried at most once a second for all who ask.
#[derive(Debug, Default)]
pub struct Trial(Mutex<Option<Tried>>);

#[derive(Debug)]
struct Tried {
    at: Instant,
    /// Why the database did not accept it.
    refusal: Option<String>,
}

impl Trial {
    /// Writes, unless that was tried a moment ago. Callers that ask meanwhile wait for its outcome.
    ///
    /// # Errors
    /// 503 when the database does not accept the change.
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

/// There while a restore into the database has not come to its end.
pub const RESTORING: &str = "restoring";

/// Marks a PostgreSQL database as one whose restore has not come to its end.
pub const MARK_AS_RESTORING: &str =
    "INSERT INTO installation (name, value) VALUES ('restoring', '')";

/// Refuses a database whose restore has not come to its end.
pub async fn check_whole(db: &Db) -> anyhow::Result<()> {
    anyhow::ensure!(
        value(&mut db.read(), RESTORING).await?.is_none(),
        "the restore into this database was interrupted: restore again, into an empty one"
    );
    Ok(())
}

/// Writes, as a change would: fails where the database takes none. A statement that finds nothing to
/// change would write nothing, and so not notice a disk that is full.
async fn try_write(db: &Db, now: DateTime<Utc>) -> Result<()> {
    // PostgreSQL's log is not on this machine, and takes a change of any size or none.
    let size = if matches!(db, Db::Sqlite { .. }) { TRIAL } else { 8 };
    let value = now.timestamp_micros().to_be_bytes().repeat(size / 8);
    let mut tx = db.begin().await?;
    let sql = "INSERT INTO installation (name, value) VALUES ('trial', $1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.q(sql).bind(value).exec().await?;
    tx.commit().await?;
    Ok(())
}

/// Sets the value unless it is set: whether this caller was the first. A replica that does the same
/// at the same time waits for this transaction's end.
pub async fn set_first(tx: &mut Conn, name: &str, value: &[u8]) -> sqlx::Result<bool> {
    let sql =
        "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    Ok(tx.q(sql).bind(name).bind(value).exec().await? == 1)
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

/// Holds the value until the end of the transaction: what is done under it is done by one at a
/// time.
pub async fn hold(tx: &mut Conn, name: &str) -> sqlx::Result<Option<Vec<u8>>> {
    let held = tx.q2(
        "SELECT value FROM installation WHERE name = $1",
        "SELECT value FROM installation WHERE name = $1 FOR UPDATE",
    );
    held.bind(name).value().await
}
