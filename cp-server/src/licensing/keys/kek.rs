//! The change of the key-encryption key.

use anyhow::Context;

use super::store;
use crate::App;
use crate::identity::providers;
use crate::kernel::secret::Kek;
use crate::kernel::{idempotency, kek};

pub use crate::kernel::kek::{check, hold, is_known, opens};

/// Seals everything under another key-encryption key, in one transaction: either all of it or
/// nothing.
pub async fn change(app: &App, new: &Kek) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    hold(app, &mut tx).await.context("the key-encryption key was not changed")?;
    store::reseal(app, &mut tx, new).await?;
    providers::reseal(app, &mut tx, new).await?;
    idempotency::reseal(app, &mut tx, new).await?;
    kek::replace(app, &mut tx, new).await?;
    tx.commit().await?;
    Ok(())
}
