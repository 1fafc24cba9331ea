//! Checkpoints: trees that the log's key signed.
//!
//! The server signs one on request, if the tree has grown since the last one, and not with every
//! change. Before the key signs, the server checks that the tree still begins with the tree that it
//! signed before. A history that was rewritten in the database gets no signature.

use chrono::{DateTime, Utc};

use super::high_water;
use super::key::{LogKey, SignedCheckpoint};
use super::stored_hashes::root_at;
use crate::audit::Log;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::journal::store;
use crate::kernel::journal::tree::Tree;

/// Returns the newest checkpoint of the committed tree.
pub async fn current(app: &App) -> Result<SignedCheckpoint> {
    let mut known = Log::of(app).current.lock().await;
    let read = async {
        let mut tx = app.db.read();
        let size = store::tree(&mut tx).await?.size;
        match &*known {
            Some(known) if known.size == size => Ok(None),
            _ => Ok(Some(tx)),
        }
    };
    let signed = match read.await {
        Ok(None) => None,
        Ok(Some(tx)) => {
            drop(tx);
            Some(sign_and_keep(app).await)
        }
        Err(error) => Some(Err(error)),
    };
    match (signed, &*known) {
        (None, Some(known)) => Ok(known.clone()),
        (Some(Ok(signed)), _) => {
            *known = Some(signed.clone());
            Ok(signed)
        }
        // The database cannot be written or reached: the last checkpoint is still true.
        (Some(Err(error)), Some(known)) if error.document().status == 503 => {
            tracing::warn!(%error, "the last checkpoint is served from memory");
            Ok(known.clone())
        }
        (Some(Err(error)), _) => Err(error),
        (None, None) => Err(Error::internal(anyhow::anyhow!("no checkpoint was signed"))),
    }
}

async fn sign_and_keep(app: &App) -> Result<SignedCheckpoint> {
    let mut tx = app.db.begin().await?;
    let signed = in_transaction(app, &mut tx).await?;
    tx.commit().await?;
    high_water::keep(app, &signed).await;
    Ok(signed)
}

/// Returns the checkpoint of the tree as this transaction sees it. Callers publish it after their
/// commit.
pub async fn in_transaction(app: &App, tx: &mut Conn) -> Result<SignedCheckpoint> {
    let key = Log::of(app).key(app, tx).await?;
    let tree = store::tree(tx).await?;
    let last = store::checkpoint(tx).await?;
    let last = last.map(|(_, note)| key.read(&note)).transpose().map_err(|error| {
        Error::internal(error.context("log_checkpoints.note is not signed by the log's key"))
    })?;
    if let Some(last) = last {
        check(tx, &tree, &last).await?;
        if last.size == tree.size {
            return Ok(last);
        }
    }
    sign(&key, tx, &tree, app.clock.now()).await
}

async fn sign(
    key: &LogKey,
    tx: &mut Conn,
    tree: &Tree,
    now: DateTime<Utc>,
) -> Result<SignedCheckpoint> {
    let stored = root_at(tx, tree.size).await?;
    if stored != tree.root() {
        let cause = "log_tree.peaks and log_hashes hold different trees; see `audit verify`";
        return Err(Error::internal(anyhow::anyhow!(cause)));
    }
    let signed = key.sign(tree.size, stored).map_err(Error::internal)?;
    store::keep_checkpoint(tx, signed.size, &signed.note, now).await?;
    Ok(signed)
}

/// Checks that the tree still begins with the last signed tree.
async fn check(tx: &mut Conn, tree: &Tree, last: &SignedCheckpoint) -> Result<()> {
    let refused = |what: String| Err(Error::internal(anyhow::anyhow!(what)));
    if last.size > tree.size {
        return refused(format!(
            "the log was rolled back: it has {} leaves, and {} were signed; see `audit verify`",
            tree.size, last.size
        ));
    }
    if root_at(tx, last.size).await? != last.root {
        return refused(format!(
            "the log was rewritten: its first {} leaves are not those that were signed; see \
             `audit verify`",
            last.size
        ));
    }
    Ok(())
}
