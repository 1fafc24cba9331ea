//! The change of the key-encryption key: it seals what several slices keep.

use anyhow::Context;

use super::store;
use crate::audit;
use crate::identity::providers;
use crate::kernel::app::App;
use crate::kernel::secret::Kek;
use crate::kernel::{http::idempotency, kek};

/// Seals everything under another key-encryption key, in one transaction: either all of it or
/// nothing.
pub async fn rekey(app: &App, new: &Kek) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    kek::hold(app, &mut tx).await.context("the key-encryption key was not changed")?;
    store::reseal(app, &mut tx, new).await?;
    providers::reseal(app, &mut tx, new).await?;
    idempotency::reseal(app, &mut tx, new).await?;
    audit::key::reseal(app, &mut tx, new).await?;
    kek::replace(app, &mut tx, new).await?;
    tx.commit().await?;
    Ok(())
}
