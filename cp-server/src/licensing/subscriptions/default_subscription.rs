//! The subscription that an organization begins with: one that the caller chose, or a default one that
//! gives way to the next.

use super::rows::{Subscription, at_plan_code};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::PlanCode;
use crate::licensing::ids::SubscriptionId;
use crate::licensing::plans;
use crate::tenancy::quotas;

/// The plan of an organization for which nobody chose one.
const BEGINNING: &str = "free";

/// What the organization began with, because nobody chose a plan, ends when somebody does; once a
/// license stands on it, it is a contract like any other.
pub(super) async fn give_way(cx: &mut Cx) -> Result<()> {
    let tail = "WHERE subscriptions.organization_id = $1 AND subscriptions.by_default
                  AND NOT EXISTS (SELECT 1 FROM licenses l
                                  WHERE l.subscription_id = subscriptions.id)";
    let found: Option<Subscription> = cx.tx.select(tail).bind(cx.at).opt().await?;
    let Some(given) = found else { return Ok(()) };
    cx.trail.before = serde_json::to_value(&given).ok();
    cx.tx.q("DELETE FROM subscriptions WHERE id = $1").bind(given.id).exec().await?;
    Ok(())
}

/// The subscription and the quotas that a new organization begins with.
pub async fn begin<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    plan_code: Option<&PlanCode>,
) -> Result<()> {
    let code = plan_code.map_or(BEGINNING, PlanCode::as_str);
    let plan = plans::newest(cx, code).await.map_err(at_plan_code)?;
    let seat_cap = plan.seat_cap.ok_or_else(|| {
        let detail = format!(
            "`plan_code` names plan `{}`, which sets no `seat_cap`. Give the plan one, or create the \
             organization with another plan and subscribe it to this one with a `seat_cap`.",
            plan.code
        );
        Error::invalid("plan_code", detail)
    })?;
    let sql = "INSERT INTO subscriptions
               (id, organization_id, plan_id, plan_version, status, seat_cap, seats_from_plan,
                feature_overrides, starts_at, by_default, created_at, updated_at)
               VALUES ($1, $2, $3, $4, 'active', $5, TRUE, $6, $7, $8, $7, $7)";
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
        .bind(plan_code.is_none());
    insert.exec().await?;
    quotas::grant(cx, organization, &plan.limits, seat_cap).await
}
