//! The continuation of a restored database: data planes remember what the database has forgotten.
//!
//! # Design
//!
//! A backup does not contain what was issued after it. So each number continues at a value that
//! cannot have been issued. Status lists issue no more entries and new lists begin; numbers derived
//! from the clock continue from now. Only the operator knows what was withdrawn since and is back
//! (revocations, compromised keys, access): [`RETURNED`] lists it. Sessions end, because a session
//! that was ended since would be valid again.

use anyhow::ensure;
use chrono::{DateTime, Utc};

use super::BackupSource;
use crate::identity::sessions;
use crate::kernel::db::Db;
use crate::kernel::{db::installation, kek};
use crate::licensing::leases::restores;
use crate::licensing::licenses::file_numbers;
use crate::licensing::status_lists;

/// The text for the operator about the changes that a restore makes.
pub const CONTINUED: &str = "\
All status lists are closed. New tokens get entries of new lists, so no entry is issued twice.
Status lists and license files continue with today's numbers, past those issued since the backup.
All sessions have ended: people must log in again.";

/// The text for the operator about what a restore brings back and must be withdrawn again.
pub const RETURNED: &str = "\
- Revoke and suspend again what was revoked and suspended since; until then the new lists say valid.
- Signing keys that were marked as compromised since are back: mark them before you start any server
  that data planes reach.
- Seats that were borrowed, or taken without an end, since are free and may be taken twice: end the
  leases of those who must not have one. New holders of other seats wait until unknown leases end.
- Service tokens, members, grants and invitations that were revoked since are back, and so are people
  who were erased.";

/// Continues after every number that may have been issued since the backup.
pub async fn continue_after_restore(db: &Db, now: DateTime<Utc>) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    status_lists::continue_after_restore(&mut tx, now).await?;
    file_numbers::continue_after_restore(&mut tx, now).await?;
    restores::continue_after_restore(&mut tx, now).await?;
    sessions::end_all(&mut tx).await?;
    installation::remove(&mut tx, installation::RESTORING).await?;
    tx.commit().await?;
    Ok(())
}

/// Does the same for a database that was restored by other means: a dump, a snapshot, a copied
/// file.
pub async fn of_copy(place: &BackupSource) -> anyhow::Result<()> {
    ensure!(
        kek::is_known(&place.db).await? && kek::opens(&place.db, &place.kek).await?,
        "this is not the key-encryption key of this database, or no server was ever started on it"
    );
    place.db.migrate().await?;
    continue_after_restore(&place.db, place.clock.now()).await
}
