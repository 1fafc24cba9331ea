//! The first subscription of an organization: the caller's choice, or a default one that the next
//! subscription replaces.

use super::rows::{Subscription, at_plan_code, seats_of};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::record::Object;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::SeatCap;
use crate::kernel::text::PlanCode;
use crate::licensing::ids::SubscriptionId;
use crate::licensing::plans;
use crate::tenancy::quotas;

/// The plan of an organization that was created without one.
const BEGINNING: &str = "free";

/// Deletes the default subscription when a plan is chosen. A default subscription with a license
/// stays, like any other contract.
pub(super) async fn give_way(cx: &mut Cx) -> Result<()> {
    let tail = "WHERE subscriptions.organization_id = $1 AND subscriptions.by_default
                  AND NOT EXISTS (SELECT 1 FROM licenses l
                                  WHERE l.subscription_id = subscriptions.id)";
    let found: Option<Subscription> = cx.tx.select(tail).bind(cx.at).opt().await?;
    let Some(given) = found else { return Ok(()) };
    cx.audit.before = serde_json::to_value(&given).ok();
    cx.tx.q("DELETE FROM subscriptions WHERE id = $1").bind(given.id).exec().await?;
    Ok(())
}

/// Creates the subscription and the quotas of a new organization.
pub async fn begin<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    plan_code: Option<&PlanCode>,
    seats: Option<SeatCap>,
) -> Result<()> {
    let code = plan_code.map_or(BEGINNING, PlanCode::as_str);
    let plan = plans::newest(cx, code).await.map_err(at_plan_code)?;
    let (seat_cap, seats_from_plan) = seats_of(seats, &plan)?;
    let sql = "INSERT INTO subscriptions
               (id, organization_id, plan_id, plan_version, status, seat_cap, seats_from_plan,
                feature_overrides, starts_at, by_default, created_at, updated_at)
               VALUES ($1, $2, $3, $4, 'active', $5, $9, $6, $7, $8, $7, $7)";
    let insert = cx
        .tx
        .q(sql)
        .bind(SubscriptionId::new(&cx.app.random, cx.now))
        .bind(organization)
        .bind(plan.id)
        .bind(plan.version)
        .bind(seat_cap)
        .bind(Object::default())
        .bind(cx.now)
        .bind(plan_code.is_none())
        .bind(seats_from_plan);
    insert.exec().await?;
    quotas::grant(cx, organization, &plan.limits, seat_cap).await
}
