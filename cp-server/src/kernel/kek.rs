//! The check value of the key-encryption key with which the database was created.

use anyhow::bail;

use crate::kernel::app::App;
use crate::kernel::db::{Conn, Db, installation};
use crate::kernel::error::{Error, Result};
use crate::kernel::secret::Kek;

/// The value that only the key-encryption key of this database opens.
pub const CHECK: &str = "kek check";

/// Returns the stored check value; `None` before the first start.
pub async fn check_value(conn: &mut Conn) -> sqlx::Result<Option<Vec<u8>>> {
    installation::value(conn, CHECK).await
}

/// Whether the database has a check value.
pub async fn is_known(db: &Db) -> anyhow::Result<bool> {
    Ok(installation::value(&mut db.read(), CHECK).await?.is_some())
}

/// Whether this key opens the check value, or the database has no check value yet.
pub async fn opens(db: &Db, kek: &Kek) -> anyhow::Result<bool> {
    let kept = installation::value(&mut db.read(), CHECK).await?;
    Ok(kept.is_none_or(|kept| kek.open(CHECK, &kept).is_some()))
}

/// Refuses to continue under a key-encryption key that differs from that of the database.
pub async fn check(app: &App) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    let sealed = app.kek.seal(&app.random, CHECK, CHECK.as_bytes());
    installation::set_first(&mut tx, CHECK, &sealed).await?;
    let kept = installation::value(&mut tx, CHECK).await?;
    if kept.and_then(|kept| app.kek.open(CHECK, &kept)).is_none() {
        bail!(
            "this is not the key-encryption key with which the database was created; provide that \
             key in CP_KEY_ENCRYPTION_KEY or in the file kek in CP_KEYS_DIR. Nothing was changed."
        );
    }
    tx.commit().await?;
    Ok(())
}

/// Locks the check value, so that one transaction at a time seals permanent secrets. Refuses a
/// key-encryption key that was replaced while this process ran.
pub async fn hold(app: &App, tx: &mut Conn) -> Result<()> {
    let kept = installation::hold(tx, CHECK).await?;
    if kept.is_none_or(|kept| app.kek.open(CHECK, &kept).is_some()) {
        return Ok(());
    }
    let detail = "The key-encryption key was replaced while this server ran; restart the server \
                  with the new key.";
    Err(Error::unavailable(detail, 60))
}

/// Replaces the check value: from now on the new key seals everything.
pub async fn replace(app: &App, tx: &mut Conn, new: &Kek) -> Result<()> {
    let sealed = new.seal(&app.random, CHECK, CHECK.as_bytes());
    Ok(installation::replace(tx, CHECK, &sealed).await?)
}
