//! The life of a key: activation, rotation, retirement and compromise.
//!
//! # Design
//! A key signs only after every data plane has had time to fetch it. So a successor is always
//! published ahead, and neither a rotation nor an emergency waits. Every change is in a transaction
//! under one lock, and a unique index allows one active key. So any number of replicas and
//! operators may rotate at once.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use serde_json::json;

use super::custody;
use super::row::KeyRow;
use super::settings::KeySettings;
use super::signer::Signer;
use super::state::KeyState;
use super::store::{self, InitialState};
use crate::kernel::access::caller::{Caller, Scope};
use crate::kernel::app::{App, Part};
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::journal::record;
use crate::kernel::kek;
use crate::licensing::bundles::rows as bundles;

/// The maximum by which a verifier's clock may be behind; the verifier then still accepts tokens of
/// a retired key.
const LEEWAY: TimeDelta = TimeDelta::minutes(5);

/// Returns the instant from which the key may sign without an emergency.
pub fn not_before(settings: &KeySettings, key: &KeyRow) -> Option<DateTime<Utc>> {
    key.published_at.map(|at| at + settings.propagation())
}

/// Activates the key. The previous active key stays published for its tokens.
pub async fn activate(cx: &mut Cx<Scope>, kid: &str, emergency: Option<&str>) -> Result<KeyRow> {
    kek::hold(&cx.app, &mut cx.tx).await?;
    let key = store::find(&mut cx.tx, kid).await?;
    let settings = KeySettings::of(&cx.app);
    match (key.state, not_before(settings, &key)) {
        (KeyState::Active, _) => return Ok(key),
        (KeyState::Published, Some(at)) if at <= cx.now || emergency.is_some() => {}
        (KeyState::Staged, _) if emergency.is_some() => {}
        (KeyState::Published, Some(at)) => {
            let from = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            let detail = format!(
                "Data planes may not have fetched the key yet. It may sign from {from}. If refused \
                 tokens are acceptable, activate it as an `emergency` with a `reason`."
            );
            let error = Error::new(ProblemCode::KeyNotYetPropagated, detail);
            return Err(error.with("not_before", at));
        }
        (KeyState::Staged, _) | (KeyState::Published, None) => {
            let detail = "The key is not published. Publish it first, so that data planes have time to \
                          fetch it.";
            return Err(Error::new(ProblemCode::KeyNotYetPropagated, detail));
        }
        (state @ (KeyState::Retiring | KeyState::Retired | KeyState::Compromised), _) => {
            let detail = format!("The key is {state}. Such a key cannot sign again.");
            return Err(Error::conflict(detail));
        }
    }
    succeed(cx, &key, emergency).await?;
    store::find(&mut cx.tx, kid).await
}

/// Replaces the active key by the next one.
async fn succeed(cx: &mut Cx<Scope>, next: &KeyRow, reason: Option<&str>) -> Result<()> {
    if let Some(active) = store::active(&mut cx.tx).await? {
        store::advance(&mut cx.tx, cx.now, &active, KeyState::Retiring, None).await?;
    }
    store::advance(&mut cx.tx, cx.now, next, KeyState::Active, reason).await
}

/// Returns the oldest published key that is not active yet.
async fn successor(cx: &mut Cx<Scope>) -> Result<Option<KeyRow>> {
    let keys = store::all(&mut cx.tx).await?;
    Ok(keys.into_iter().find(|key| key.state == KeyState::Published))
}

/// Activates the successor of the key that the caller has `seen` active, and publishes the next
/// successor. Of many concurrent calls, one rotates.
pub async fn rotate(
    cx: &mut Cx<Scope>,
    seen: Option<&str>,
    emergency: Option<&str>,
    spare: &dyn Signer,
) -> Result<KeyRow> {
    kek::hold(&cx.app, &mut cx.tx).await?;
    let active = store::active(&mut cx.tx).await?.map(|key| key.kid);
    if active.as_deref() != seen {
        return Err(Error::conflict("Another caller has just rotated the keys. Read them again."));
    }
    let Some(next) = successor(cx).await? else {
        let detail = "No published key can sign next. A running server publishes one within a \
                      minute; or create one now with `keys generate`.";
        return Err(Error::conflict(detail));
    };
    let active = activate(cx, &next.kid, emergency).await?;
    publish_spare(cx, spare).await?;
    Ok(active)
}

/// Publishes a new key unless a successor exists.
async fn publish_spare(cx: &mut Cx<Scope>, spare: &dyn Signer) -> Result<bool> {
    if successor(cx).await?.is_some() {
        return Ok(false);
    }
    let initial = InitialState::in_state(KeyState::Published);
    store::insert(&cx.app, &mut cx.tx, cx.now, spare, initial).await
}

/// Retires a key that no live token needs.
pub async fn retire(cx: &mut Cx<Scope>, kid: &str, reason: Option<&str>) -> Result<KeyRow> {
    kek::hold(&cx.app, &mut cx.tx).await?;
    let key = store::find(&mut cx.tx, kid).await?;
    match key.state {
        KeyState::Retired => return Ok(key),
        KeyState::Compromised => {
            return Err(Error::conflict("The key is compromised. It cannot be used or retired."));
        }
        KeyState::Active => {
            let detail = "The key is active. Rotate first; the key then retires automatically.";
            return Err(Error::conflict(detail));
        }
        KeyState::Staged | KeyState::Published | KeyState::Retiring => {}
    }
    if let Some(last) = bundles::last_signed_by(&mut cx.tx, kid).await?
        && last + LEEWAY > cx.now
    {
        let until = last.to_rfc3339_opts(SecondsFormat::Secs, true);
        let detail = format!(
            "Tokens of the key are valid until {until}; the key retires automatically then. If \
             verifiers must not trust them, mark the key as compromised."
        );
        return Err(Error::conflict(detail).with("last_expires_at", last));
    }
    store::advance(&mut cx.tx, cx.now, &key, KeyState::Retired, reason).await?;
    store::find(&mut cx.tx, kid).await
}

/// Marks a key as compromised and revokes every token that it signed. If the key was active, its
/// successor becomes active, or the spare if there is no successor.
pub async fn compromise(
    cx: &mut Cx<Scope>,
    kid: &str,
    reason: &str,
    spare: &dyn Signer,
) -> Result<u64> {
    kek::hold(&cx.app, &mut cx.tx).await?;
    let key = store::find(&mut cx.tx, kid).await?;
    if key.state == KeyState::Compromised {
        // The first reason stays, unless it is blank.
        if key.reason.as_deref().is_none_or(|known| known.trim().is_empty()) {
            store::advance(&mut cx.tx, cx.now, &key, key.state, Some(reason)).await?;
        }
        return Ok(0);
    }
    store::advance(&mut cx.tx, cx.now, &key, KeyState::Compromised, Some(reason)).await?;
    if key.state == KeyState::Active {
        let why = Some("its predecessor was compromised");
        match successor(cx).await? {
            Some(next) => store::advance(&mut cx.tx, cx.now, &next, KeyState::Active, why).await?,
            None => {
                let initial = InitialState {
                    reason: why.map(str::to_owned),
                    ..InitialState::in_state(KeyState::Active)
                };
                store::insert(&cx.app, &mut cx.tx, cx.now, spare, initial).await?;
            }
        }
    }
    bundles::revoke_signed_by(cx, kid).await
}

/// A step that is due by the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Retire(String),
    Activate(String),
    Publish,
    Rotate,
}

/// Does the steps that are due by the clock. Every replica may call it: the lock and the states
/// decide.
pub async fn tick(app: &App) -> anyhow::Result<()> {
    let due = due(app).await?;
    if due.is_empty() {
        return Ok(());
    }
    // Before the lock, because a key needs some time.
    let spare = match due.contains(&Step::Publish) {
        true => spare(app).await,
        false => None,
    };
    let mut cx = app.change(Caller::system("key rotation")).await?;
    kek::hold(app, &mut cx.tx).await?;
    // Under the lock: a step that another replica has done meanwhile is no longer due.
    for step in steps(&mut cx).await? {
        let (action, kid) = match step {
            Step::Retire(kid) => ("keys.retire", retire(&mut cx, &kid, None).await?.kid),
            Step::Activate(kid) => ("keys.activate", activate(&mut cx, &kid, None).await?.kid),
            Step::Publish => match &spare {
                Some(spare) if publish_spare(&mut cx, spare.as_ref()).await? => {
                    ("keys.create", spare.jwk().kid.clone())
                }
                _ => continue,
            },
            Step::Rotate => match successor(&mut cx).await? {
                Some(next) => ("keys.rotate", activate(&mut cx, &next.kid, None).await?.kid),
                None => continue,
            },
        };
        let state = store::find(&mut cx.tx, &kid).await?.state;
        cx.audit.after = Some(json!({"kid": kid, "state": state}));
        record::record(&mut cx, action, None, ("signing key", kid)).await?;
    }
    cx.commit(Effect::Parts).await?;
    Ok(())
}

/// Makes a key. The other steps do not wait for a signing service that makes none.
async fn spare(app: &App) -> Option<Arc<dyn Signer>> {
    let made = custody::make(app, KeySettings::of(app).bits).await;
    made.inspect_err(|error| tracing::error!("no key was made to be published: {error:#}")).ok()
}

async fn due(app: &App) -> Result<Vec<Step>> {
    let tx = app.db.read();
    steps(&mut Cx::outside(app, Caller::system("key rotation"), Scope::Platform, tx)).await
}

async fn steps(cx: &mut Cx<Scope>) -> Result<Vec<Step>> {
    let (settings, now) = (KeySettings::of(&cx.app).clone(), cx.now);
    let keys = store::all(&mut cx.tx).await?;
    let mut steps = Vec::new();
    for key in keys.iter().filter(|key| key.state == KeyState::Retiring) {
        let last = bundles::last_signed_by(&mut cx.tx, &key.kid).await?;
        // A status list that the key signed is in use until data planes fetch the next one.
        let replaced = key.updated_at + settings.propagation();
        if last.is_none_or(|last| last + LEEWAY <= now) && replaced <= now {
            steps.push(Step::Retire(key.kid.clone()));
        }
    }
    let may_sign = |key: &&KeyRow| {
        key.state == KeyState::Published && not_before(&settings, key).is_some_and(|at| at <= now)
    };
    let chosen =
        keys.iter().filter(may_sign).find(|key| key.activate_at.is_some_and(|at| at <= now));
    let is_old = |key: &KeyRow| match (settings.rotate_after, key.activated_at) {
        (Some(age), Some(at)) => at + age <= now,
        _ => false,
    };
    let active = keys.iter().find(|key| key.state == KeyState::Active);
    if let Some(chosen) = chosen {
        steps.push(Step::Activate(chosen.kid.clone()));
    } else if active.is_none_or(is_old) && keys.iter().any(|key| may_sign(&key)) {
        steps.push(Step::Rotate);
    }
    let waiting = keys.iter().filter(|key| key.state == KeyState::Published).count();
    let used = steps.iter().filter(|step| matches!(step, Step::Rotate | Step::Activate(_))).count();
    if waiting <= used {
        steps.push(Step::Publish);
    }
    Ok(steps)
}
