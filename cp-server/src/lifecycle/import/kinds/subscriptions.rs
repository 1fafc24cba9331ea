//! Lines of subscriptions.

use super::super::applied::{Applied, json_of};
use super::super::fields::{Fields, required};
use super::super::references;
use crate::kernel::access::place::Org;
use crate::kernel::error::Result;
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::ExternalId;
use crate::licensing::subscriptions::rows::Subscription;
use crate::licensing::subscriptions::{create, update};

pub async fn apply(cx: &mut Cx, mut fields: Fields) -> Result<Applied> {
    let external_id: ExternalId = fields.identity("external_id")?;
    let plan = match fields.take::<String>("plan")? {
        Some(plan) => Some(references::plan(cx, &plan).await?),
        None => None,
    };
    let tail = "WHERE subscriptions.organization_id = $1 AND subscriptions.external_id = $2";
    let known: Option<Subscription> =
        cx.tx.select(tail).bind(cx.at).bind(&external_id).opt().await?;
    let organization = cx.at;
    if let Some(plan) = &plan {
        fields.set("plan_code", plan);
    }
    let Some(known) = known else {
        plan.ok_or_else(|| required("plan"))?;
        let org = Org::named(organization.to_string());
        let Created(made) = create(cx, org, fields.read()?).await?;
        return Applied::created("subscriptions.create", Some(organization), &made);
    };
    let before = json_of(&known)?;
    let mut compared = before.clone();
    if known.seats_from_plan {
        // Seats that the line names stay when the plan changes. Those of the subscription do not.
        compared["seat_cap"] = Default::default();
    }
    let Some(changed) = fields.without_equal(&compared) else {
        return Ok(Applied::unchanged(known.id));
    };
    let updated = update(cx, known.id, changed.read()?).await?;
    Applied::changed("subscriptions.update", Some(organization), before, &updated)
}
