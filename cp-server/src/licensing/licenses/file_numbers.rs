//! The numbers of license files, which grow with every file of a license.
//!
//! # Design
//! A data plane remembers the last accepted number for years. This database may be an older copy of
//! itself: a restored backup, a dump, a snapshot. A plain counter would then issue a number twice.
//! So the number is the second of the file's creation, or the last number plus one: no copy of the
//! database is behind the clock. The clock also limits the damage of a stolen signing key: a data
//! plane refuses a number more than a day ahead of its file's date.

use chrono::{DateTime, TimeDelta, Utc};

use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::LicenseId;

/// Returns the number after `last`.
pub fn next(last: i64, now: DateTime<Utc>) -> i64 {
    now.timestamp().max(last.saturating_add(1))
}

/// Stores the number of a license's file, if no other file was created in between.
pub async fn keep(cx: &mut Cx, id: LicenseId, last: i64, seq: i64) -> Result<()> {
    let sql = "UPDATE licenses SET file_seq = $3
               WHERE id = $1 AND organization_id = $2 AND file_seq = $4";
    match cx.tx.q(sql).bind(id).bind(cx.at).bind(seq).bind(last).exec().await? {
        1 => Ok(()),
        _ => Err(Error::stale()),
    }
}

/// The advance of numbers over the clock after a restore: a license may have had more files than
/// seconds. It is less than data planes accept.
const MARGIN: TimeDelta = TimeDelta::hours(1);

/// Advances the numbers after a restore, so that no file has the number of one that was created
/// since the backup.
pub async fn continue_after_restore(tx: &mut Conn, now: DateTime<Utc>) -> Result<()> {
    let sql = "UPDATE licenses SET file_seq = $1 WHERE file_seq < $1";
    tx.q(sql).bind((now + MARGIN).timestamp()).exec().await?;
    Ok(())
}

/// Resets numbers that are ahead of the clock to the clock, because the clock was wrong before.
pub async fn take_back(tx: &mut Conn, now: DateTime<Utc>) -> Result<()> {
    let sql = "UPDATE licenses SET file_seq = $1 WHERE file_seq > $1";
    tx.q(sql).bind(now.timestamp()).exec().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_number_grows_with_the_clock_and_past_it() {
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        assert_eq!(next(7, now), 1_767_225_600, "an installation that used a counter before");
        assert_eq!(next(1_767_225_600, now), 1_767_225_601, "two files in one second");
        assert_eq!(next(1_767_229_200, now), 1_767_229_201, "the clock was set back");
    }
}
