//! What a restored database continues beyond, because data planes remember what it has forgotten.
//!
//! # Design
//! Nothing in a backup says what was given out since, so each number continues where it cannot have been:
//! status lists give out no entry any more and new ones begin, and numbers by the clock continue from
//! now. What was taken away since and is back (revocations, compromised keys, access) only the operator
//! knows; [`RETURNED`] lists it. Sessions end, because one that was ended since would live on.

use anyhow::ensure;
use chrono::{DateTime, Utc};

use super::Place;
use crate::identity::sessions;
use crate::kernel::db::Db;
use crate::kernel::{db::installation, kek};
use crate::licensing::licenses::file_numbers;
use crate::licensing::status_lists;

/// What a restore does, for the operator.
pub const CONTINUED: &str = "\
All status lists are closed, and new tokens get entries of new lists: no entry is given out twice.
Status lists and license files continue with the numbers of today, past those given out since.
People log in again: all sessions have ended.";

/// What a restore brings back, and the operator has to take away again.
pub const RETURNED: &str = "\
- Revoke and suspend again what was revoked and suspended since; until then the new lists say valid.
- Signing keys that were marked compromised since are back: mark them before you start any server that
  data planes reach.
- Service tokens, members, grants and invitations that were revoked since are back, and so are people
  who were erased.";

/// Continues beyond what may have been given out since the backup.
pub async fn continue_after_restore(db: &Db, now: DateTime<Utc>) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    status_lists::continue_after_restore(&mut tx, now).await?;
    file_numbers::continue_after_restore(&mut tx, now).await?;
    sessions::end_all(&mut tx).await?;
    installation::remove(&mut tx, installation::RESTORING).await?;
    tx.commit().await?;
    Ok(())
}

/// The same for a database that was put back by other means: a dump, a snapshot, a copied file.
pub async fn of_copy(place: &Place) -> anyhow::Result<()> {
    ensure!(
        kek::is_known(&place.db).await? && kek::opens(&place.db, &place.kek).await?,
        "the key-encryption key is not the one of this database, or no server was started on it"
    );
    place.db.migrate().await?;
    continue_after_restore(&place.db, place.clock.now()).await
}
