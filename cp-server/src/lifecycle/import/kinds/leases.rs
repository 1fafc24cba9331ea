//! Lines of leases: seats that people and machines hold until they are released.

use cp_contracts::LeaseState;
use dp_verifier::text_fingerprint;
use serde_json::{Value, json};

use super::super::applied::{Applied, json_of};
use super::super::fields::Fields;
use super::super::references;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Put;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Reference;
use crate::licensing::ids::LicenseId;
use crate::licensing::leases::holders::NewHolder;
use crate::licensing::leases::settings::{PoolKind, PoolName, SEATS};
use crate::licensing::leases::{holding, rows, seat};

pub async fn apply(cx: &mut Cx, mut fields: Fields) -> Result<Applied> {
    let license = references::licensed(cx, &mut fields).await?;
    let pool: PoolName = match fields.has("pool") {
        true => fields.identity("pool")?,
        false => SEATS.parse().map_err(|rule: String| Error::invalid("pool", rule))?,
    };
    let kind = lasting(cx, license, &pool).await?;
    name_holder(cx, license, kind, &mut fields).await?;
    let holder: NewHolder = fields.identity("holder")?;
    let organization = Some(cx.at);
    let known = holding::of_holder(cx, license, pool, holder).await?;
    let Some(known) = known.filter(|lease| lease.state == LeaseState::Live) else {
        let (Put::New(lease) | Put::Known(lease)) = seat(cx, license, fields.read()?).await?;
        return Applied::created("leases.claim", organization, &lease);
    };
    let before = json_of(&known)?;
    let mut compared = before.clone();
    for name in ["holder", "pool"] {
        compared[name] = fields.get(name).cloned().unwrap_or_default();
    }
    let claim = fields.clone();
    if fields.without_equal(&compared).is_none() {
        return Ok(Applied::unchanged(known.id));
    }
    let (Put::New(lease) | Put::Known(lease)) = seat(cx, license, claim.read()?).await?;
    Applied::changed("leases.claim", organization, before, &lease)
}

/// Returns the kind of a pool in which leases last until they are released. A lease of another pool
/// would end before its holder sends the first heartbeat.
async fn lasting(cx: &mut Cx, license: LicenseId, pool: &PoolName) -> Result<PoolKind> {
    let facts = rows::facts(&mut cx.tx, license, pool.as_str()).await?;
    let settings = facts.settings(pool.as_str())?.ok_or_else(|| {
        Error::not_found(&format!("pool {pool}")).at("pool").with("pool", pool.as_str())
    })?;
    match settings.ttl_seconds {
        None => Ok(settings.kind),
        Some(_) => {
            let detail = "`pool` must be a pool without `ttl_seconds`: only leases that last until \
                          they are released can be imported.";
            Err(Error::invalid("pool", detail))
        }
    }
}

/// Sets the holder that the line names by `holder`, `user` or `machine`.
async fn name_holder(
    cx: &mut Cx,
    license: LicenseId,
    pool: PoolKind,
    fields: &mut Fields,
) -> Result<()> {
    let user: Option<String> = fields.take("user")?;
    let machine: Option<Reference> = fields.take("machine")?;
    let holder: Value = match (user, machine, fields.has("holder")) {
        (None, None, true) => return Ok(()),
        (Some(user), None, false) => json!({"user_id": references::user(cx, &user).await?}),
        (None, Some(machine), false) => {
            let fingerprint = text_fingerprint(license.0, machine.as_str());
            match pool {
                // The verifier sends the components of machines to such pools only.
                PoolKind::Node => {
                    json!({"fingerprint": fingerprint, "components": {"text": fingerprint}})
                }
                _ => json!({"fingerprint": fingerprint}),
            }
        }
        _ => {
            let detail = "Exactly one of `holder`, `user` and `machine` is required.";
            return Err(Error::invalid("holder", detail));
        }
    };
    fields.set_json("holder", holder);
    Ok(())
}
