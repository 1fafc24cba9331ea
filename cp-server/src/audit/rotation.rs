//! Replacement of the log's key.
//!
//! # Design
//!
//! Monitors of the log, and verifiers that insist on its proofs, know it by its key. So when
//! another key follows, both keys sign for some time. Data planes and monitors receive the new key
//! one by one, and each trusts the key that it has. Then the operator retires the previous key. A
//! leaked key is retired immediately: verifiers without the new key then accept nothing new from
//! the log until they receive it. The tree continues unchanged.

use anyhow::ensure;
use serde_json::json;

use super::key::{self, Signed};
use super::{checkpoints, high_water, integrator};
use crate::audit::Log;
use crate::kernel::access::caller::Caller;
use crate::kernel::app::{App, Part};
use crate::kernel::effect::Effect;
use crate::kernel::journal::record;

/// A change of the log's key.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Creates another key, which signs together with the previous one.
    Follow,
    /// Ends the signatures of the previous key.
    Retire,
}

/// Changes the log's key and returns the first checkpoint that is signed afterwards.
pub async fn change(app: &App, change: Change, reason: Option<String>) -> anyhow::Result<Signed> {
    let mut cx = app.change(Caller::system("cli")).await?;
    // The tree's lock keeps other checkpoints out; the last one is checked before the change.
    integrator::place_now(&mut cx.tx).await?;
    checkpoints::in_transaction(app, &mut cx.tx).await?;
    let before = Log::of(app).key(app, &mut cx.tx).await?;
    let action = match change {
        Change::Follow => {
            ensure!(
                !before.has_one_before(),
                "the previous key still signs: retire it first with `audit key retire`"
            );
            key::follow(app, &mut cx.tx, &before).await?;
            "log.rotate_key"
        }
        Change::Retire => {
            ensure!(
                before.has_one_before(),
                "no previous key to retire: only the log's key itself signs"
            );
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
