//! The erasure of a person: the leases end, and lose what names the person.

use chrono::{DateTime, Utc};

use super::rows::End;
use crate::kernel::access::ids::UserId;
use crate::kernel::db::Conn;
use crate::kernel::error::Result;

/// Ends the person's leases, and blanks them. A seat without a holder would never be free otherwise:
/// no membership ends its lease any more. Borrowed leases run out, because their machines count on them.
pub(super) async fn erase(tx: &mut Conn, user: UserId, now: DateTime<Utc>) -> Result<()> {
    let end = "UPDATE lease_seats SET ended_at = $2, ended_by = $3, free_at = $2
               WHERE user_id = $1 AND ended_at IS NULL
                 AND (expires_at IS NULL OR expires_at > $2)
                 AND (borrowed_until IS NULL OR borrowed_until <= $2)";
    tx.q(end).bind(user).bind(now).bind(End::LicenseOver).exec().await?;
    let blank = "UPDATE lease_seats SET holder = NULL, user_id = NULL, label = NULL, meta = '{}'
                 WHERE user_id = $1";
    tx.q(blank).bind(user).exec().await?;
    Ok(())
}
