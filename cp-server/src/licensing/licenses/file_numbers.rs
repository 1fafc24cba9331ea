//! The numbers of license files: they grow with every file of a license.
//!
//! # Design
//! A data plane remembers the last number that it took, for years, and this database may be an older
//! copy of itself: a restored backup, a dump, a snapshot. A count alone would give numbers out twice. So
//! the number is the second in which the file is made, or one more than the last: no copy of the
//! database is behind the clock. It also bounds what a stolen signing key can do, because a data plane
//! refuses a number that is more than a day ahead of its file's date.

use chrono::{DateTime, TimeDelta, Utc};

use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::LicenseId;

/// The number after `last`.
pub fn next(last: i64, now: DateTime<Utc>) -> i64 {
    now.timestamp().max(last.saturating_add(1))
}

/// Keeps the number of a license's file, if no other file came in between.
pub async fn keep(cx: &mut Cx, id: LicenseId, last: i64, seq: i64) -> Result<()> {
    let sql = "UPDATE licenses SET file_seq = $3
               WHERE id = $1 AND organization_id = $2 AND file_seq = $4";
    match cx.tx.q(sql).bind(id).bind(cx.at).bind(seq).bind(last).exec().await? {
        1 => Ok(()),
        _ => Err(Error::stale()),
    }
}

/// How far past the clock numbers continue after a restore: so many files more than seconds may have
/// been made of one license. It is less than what data planes admit.
const MARGIN: TimeDelta = TimeDelta::hours(1);

/// After a restore: no file has the number of one that was made since the backup.
pub async fn continue_after_restore(tx: &mut Conn, now: DateTime<Utc>) -> Result<()> {
    let sql = "UPDATE licenses SET file_seq = $1 WHERE file_seq < $1";
    tx.q(sql).bind((now + MARGIN).timestamp()).exec().await?;
    Ok(())
}

/// Takes numbers that are ahead of the clock back to it, because the clock was wrong before.
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
        assert_eq!(next(7, now), 1_767_225_600, "an installation that counted before");
        assert_eq!(next(1_767_225_600, now), 1_767_225_601, "two files in one second");
        assert_eq!(next(1_767_229_200, now), 1_767_229_201, "the clock was set back");
    }
}
