//! A new key for the log.
//!
//! # Design
//! Whoever watches the log, or insists on its proofs, knows it by its key. So when another key follows, both
//! sign for a time: data planes and monitors are given the new key one by one, and each believes the one
//! that it has. Then the one before is retired. One that leaked is retired at once; who does not have
//! the new one by then takes nothing new of the log until it is given. The tree goes on as it is.

use anyhow::ensure;
use serde_json::json;

use super::key::{self, Signed};
use super::{checkpoints, high_water, integrator};
use crate::audit::Log;
use crate::kernel::access::caller::Caller;
use crate::kernel::app::{App, Part};
use crate::kernel::effect::Effect;
use crate::kernel::journal::record;

/// What the log's key becomes.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Another key follows, and signs together with the one before.
    Follow,
    /// The one before signs no more.
    Retire,
}

/// Changes the log's key, and gives the first checkpoint that is signed from then on.
pub async fn change(app: &App, change: Change, reason: Option<String>) -> anyhow::Result<Signed> {
    let mut cx = app.change(Caller::system("cli")).await?;
    // No checkpoint is signed meanwhile, and what the last one vouches for is looked at before.
    integrator::place_now(&mut cx.tx).await?;
    checkpoints::in_transaction(app, &mut cx.tx).await?;
    let before = Log::of(app).key(app, &mut cx.tx).await?;
    let action = match change {
        Change::Follow => {
            ensure!(
                !before.has_one_before(),
                "the key before still signs: retire it first, with `audit key retire`"
            );
            key::follow(app, &mut cx.tx, &before).await?;
            "log.rotate_key"
        }
        Change::Retire => {
            ensure!(before.has_one_before(), "only the log's key itself signs");
            key::retire_before(&mut cx.tx, &before).await?;
            "log.retire_key"
        }
    };
    let now = Log::of(app).key(app, &mut cx.tx).await?;
    cx.trail.before = Some(json!({"key": before.verifier()}));
    cx.trail.after = Some(json!({"key": now.verifier()}));
    cx.trail.reason = reason;
    record::record(&mut cx, action, None, ("log key", String::new())).await?;
    integrator::place_now(&mut cx.tx).await?;
    let signed = checkpoints::in_transaction(app, &mut cx.tx).await?;
    cx.commit(Effect::Rights).await?;
    high_water::keep(app, &signed).await;
    Ok(signed)
}
