//! The change of the key-encryption key, which seals data of several slices.

use anyhow::Context;

use super::store;
use crate::audit;
use crate::kernel::app::App;
use crate::kernel::secret::Kek;
use crate::kernel::{declaration, http::idempotency, kek};

/// Seals all data with another key-encryption key in one transaction.
pub async fn rekey(app: &App, new: &Kek) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    kek::hold(app, &mut tx).await.context("the key-encryption key was not changed")?;
    store::reseal(app, &mut tx, new).await?;
    for sealed in declaration::all().iter().flat_map(|one| one.sealed) {
        sealed.reseal(app, &mut tx, new).await?;
    }
    idempotency::reseal(app, &mut tx, new).await?;
    audit::key::reseal(app, &mut tx, new).await?;
    kek::replace(app, &mut tx, new).await?;
    tx.commit().await?;
    Ok(())
}
