//! Leases after a restore: the backup does not know the newest ones.

use chrono::{DateTime, TimeDelta, Utc};

use super::rows::Facts;
use crate::kernel::db::{Conn, installation};
use crate::kernel::error::{Error, Result};

/// The name of the instant of the last restore in `installation`.
const RESTORED_AT: &str = "leases_restored_at";

/// Notes the restore: new holders wait until every lease that the backup does not know has ended.
pub async fn continue_after_restore(tx: &mut Conn, now: DateTime<Utc>) -> Result<()> {
    let micros = now.timestamp_micros().to_be_bytes();
    Ok(installation::set(tx, RESTORED_AT, &micros).await?)
}

/// Refuses a new lease while an unknown one may live on its seat. Leases without an end cannot be
/// waited for.
///
/// # Errors
/// Fails with 503.
pub(super) fn refuse(facts: &Facts, ttl: Option<i64>, now: DateTime<Utc>) -> Result<()> {
    let restored_at = facts.restored_at.as_deref().and_then(|micros| micros.try_into().ok());
    let restored_at =
        restored_at.and_then(|micros| DateTime::from_timestamp_micros(i64::from_be_bytes(micros)));
    let Some((restored_at, ttl)) = restored_at.zip(ttl) else { return Ok(()) };
    let wait = restored_at + TimeDelta::seconds(ttl) - now;
    if wait <= TimeDelta::zero() {
        return Ok(());
    }
    let seconds = u32::try_from(wait.num_seconds() + 1).unwrap_or(u32::MAX);
    let detail = format!(
        "The server was restored from a backup that may lack live leases. New holders get a seat in \
         {seconds} s; present holders keep theirs."
    );
    Err(Error::unavailable(detail, seconds))
}
