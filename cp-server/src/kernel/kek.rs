//! The key-encryption key that the database was made with: its check value.

use anyhow::bail;

use crate::kernel::app::App;
use crate::kernel::db::{Conn, Db, installation};
use crate::kernel::error::{Error, Result};
use crate::kernel::secret::Kek;

/// The value that only the key-encryption key of this database opens.
pub const CHECK: &str = "kek check";

/// It, as it is kept; none before the first start.
pub async fn check_value(conn: &mut Conn) -> sqlx::Result<Option<Vec<u8>>> {
    installation::value(conn, CHECK).await
}

/// Whether the database was made with a key-encryption key already.
pub async fn is_known(db: &Db) -> anyhow::Result<bool> {
    Ok(installation::value(&mut db.read(), CHECK).await?.is_some())
}

/// Whether it is this one; also when there is none yet.
pub async fn opens(db: &Db, kek: &Kek) -> anyhow::Result<bool> {
    let kept = installation::value(&mut db.read(), CHECK).await?;
    Ok(kept.is_none_or(|kept| kek.open(CHECK, &kept).is_some()))
}

/// Refuses to go on under another key-encryption key than the one that the database was made with.
pub async fn check(app: &App) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    let sealed = app.kek.seal(&app.random, CHECK, CHECK.as_bytes());
    installation::set_first(&mut tx, CHECK, &sealed).await?;
    let kept = installation::value(&mut tx, CHECK).await?;
    if kept.and_then(|kept| app.kek.open(CHECK, &kept)).is_none() {
        bail!(
            "the key-encryption key is not the one that this database was made with; put the right \
             one into CP_KEY_ENCRYPTION_KEY or the file kek in CP_KEYS_DIR. Nothing was changed."
        );
    }
    tx.commit().await?;
    Ok(())
}

/// Lets one transaction at a time seal what lasts, and none under a key-encryption key that was
/// changed while this process ran.
pub async fn hold(app: &App, tx: &mut Conn) -> Result<()> {
    let kept = installation::hold(tx, CHECK).await?;
    if kept.is_none_or(|kept| app.kek.open(CHECK, &kept).is_some()) {
        return Ok(());
    }
    let detail = "The key-encryption key was changed while this server ran; restart it with the \
                  new one.";
    Err(Error::unavailable(detail, 60))
}

/// From here on the database is the new key's: everything is sealed under it.
pub async fn replace(app: &App, tx: &mut Conn, new: &Kek) -> Result<()> {
    let sealed = new.seal(&app.random, CHECK, CHECK.as_bytes());
    Ok(installation::replace(tx, CHECK, &sealed).await?)
}
