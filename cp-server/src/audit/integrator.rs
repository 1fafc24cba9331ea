//! The integrator: assigns events their positions in the tree, because PostgreSQL transactions
//! commit in another order than they begin.
//!
//! Events wait in their table. One replica at a time locks the tree's row and assigns positions to
//! all committed events. When that replica dies, the database releases the row, nothing was
//! changed, and another replica continues. No state exists outside the database.

use std::time::Duration;

use super::{checkpoints, key};
use crate::audit::Log;
use crate::kernel::app::{App, Part};
use crate::kernel::counts;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::journal::store;

/// The maximum number of events that one transaction places.
const BATCH: usize = 1000;
/// The maximum delay until an event of a dead replica gets its position.
const AT_THE_LATEST: Duration = Duration::from_millis(100);
/// The interval at which the current tree gets a signature in the database.
const SIGNED_EVERY: Duration = Duration::from_secs(1);

/// Runs until the process ends, on every replica.
pub async fn run(app: App) {
    loop {
        let _ = tokio::time::timeout(AT_THE_LATEST, Log::of(&app).woken.notified()).await;
        let done = integrate(&app).await;
        counts::ran("integration", done.is_ok());
        if let Err(error) = done {
            tracing::warn!(%error, "events wait for their places in the log");
            tokio::time::sleep(SIGNED_EVERY).await;
        }
    }
}

/// Signs the tree as it grows, so that the database holds a recent signature.
pub async fn sign(app: &App) -> anyhow::Result<()> {
    checkpoints::current(app).await?;
    Ok(())
}

/// Places all waiting events, unless another replica is doing so. Returns their number.
pub async fn integrate(app: &App) -> Result<usize> {
    let mut placed = 0;
    if app.db.writes_alone() {
        return Ok(placed);
    }
    while store::is_waiting(&mut app.db.read()).await? {
        let mut tx = app.db.begin().await?;
        // A host that vanished silently must not keep the row until TCP notices.
        let limit = "SET LOCAL idle_in_transaction_session_timeout = '5s'";
        tx.q(limit).exec().await?;
        let Some(tree) = store::hold(&mut tx, false).await? else { break };
        let (_, more) = store::place(&mut tx, tree, BATCH).await?;
        tx.commit().await?;
        placed += more;
        if more == 0 {
            break;
        }
    }
    Ok(placed)
}

/// Places the events of this transaction and all events that wait before them. All other
/// integrators wait until this transaction ends.
pub async fn place_now(tx: &mut Conn) -> Result<()> {
    if tx.writes_alone() {
        return Ok(());
    }
    tx.q("SET LOCAL lock_timeout = '3s'").exec().await?;
    let tree = store::hold(tx, true).await.map_err(|error| {
        let is_late = error.cause().is_some_and(|cause| format!("{cause:#}").contains("timeout"));
        if is_late { Error::unavailable("The log is busy; nothing was changed.", 1) } else { error }
    })?;
    if let Some(tree) = tree {
        store::place(tx, tree, BATCH).await?;
    }
    Ok(())
}

/// Begins the log: events from before the log get their commitments and positions, and the log gets
/// its key. When several replicas start together, one of them does this.
pub async fn begin(app: &App) -> anyhow::Result<()> {
    if key::is_made(&mut app.db.read()).await? {
        return key::bind(app).await;
    }
    let mut tx = app.db.begin().await?;
    let Some(mut tree) = store::hold(&mut tx, true).await? else {
        anyhow::bail!("log_tree has no row");
    };
    if key::is_made(&mut tx).await? {
        return Ok(());
    }
    loop {
        let older = store::without_commitment(&mut tx).await?;
        if older.is_empty() {
            break;
        }
        for event in &older {
            store::commit(&mut tx, &app.random, event).await?;
        }
    }
    loop {
        let (grown, placed) = store::place(&mut tx, tree, BATCH).await?;
        tree = grown;
        if placed == 0 {
            break;
        }
    }
    key::make(app, &mut tx).await?;
    tx.commit().await?;
    Ok(())
}
