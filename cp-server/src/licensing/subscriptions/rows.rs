//! The rows of subscriptions, and their move to another version of their plan.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::clock::after;
use crate::kernel::db::record::{Object, Record};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::SeatCap;
use crate::kernel::text::{Currency, Email, ExternalId};
use crate::licensing::ids::{LicenseId, PlanId, SubscriptionId};
use crate::licensing::leases::kinds::{self, Of};
use crate::licensing::licenses::seats;
use crate::licensing::plans::versions::Plan;
use crate::licensing::statuses::SubscriptionStatus;
use crate::tenancy::{organizations, quotas};

/// An organization's contract for a plan.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub organization_id: OrganizationId,
    pub plan_code: String,
    #[serde(skip)]
    pub plan_id: PlanId,
    /// The version of the plan that the subscription is pinned to.
    pub plan_version: i64,
    pub status: SubscriptionStatus,
    pub seat_cap: i64,
    /// Whether the seats come from the plan and change with it.
    pub seats_from_plan: bool,
    /// Feature values that replace those of the plan.
    pub features: Object,
    /// The same as `features`; removed in 1.0.
    #[schemars(extend("deprecated" = true))]
    pub feature_overrides: Object,
    /// Settings of the pools of seats that replace those of the plan, by pool.
    pub leasing: Object,
    /// The life in seconds of tokens that data planes renew; null when it is the plan's.
    pub token_ttl_seconds: Option<i64>,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub canceled_at: Option<DateTime<Utc>>,
    pub external_id: Option<ExternalId>,
    pub billing_customer_id: Option<ExternalId>,
    pub billing_email: Option<Email>,
    pub currency: Option<Currency>,
    /// The amount of the next invoice in cents.
    pub next_invoice_amount: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Subscription {
    /// Returns the seats after a move to this version of the plan: the plan's, if they came from
    /// the plan.
    fn seats_on(&self, plan: &Plan) -> i64 {
        plan.seat_cap.filter(|_| self.seats_from_plan).unwrap_or(self.seat_cap)
    }
}

impl Record for Subscription {
    const TABLE: &'static str = "subscriptions JOIN plans ON plans.id = subscriptions.plan_id";
    const COLUMNS: &'static str = "subscriptions.id, subscriptions.organization_id,
        plans.code AS plan_code, subscriptions.plan_id, subscriptions.plan_version,
        subscriptions.status, subscriptions.seat_cap, subscriptions.seats_from_plan,
        subscriptions.feature_overrides AS features, subscriptions.feature_overrides,
        subscriptions.leasing, subscriptions.token_ttl_seconds, subscriptions.starts_at,
        subscriptions.ends_at, subscriptions.trial_ends_at,
        subscriptions.canceled_at, subscriptions.external_id, subscriptions.billing_customer_id,
        subscriptions.billing_email, subscriptions.currency, subscriptions.next_invoice_amount,
        subscriptions.created_at, subscriptions.updated_at";
    const KEY: &'static str = "subscriptions.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl Resource for Subscription {
    const NOUN: &'static str = "subscription";
    const PATH: &'static str = "subscriptions";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

pub async fn load(cx: &mut Cx, id: SubscriptionId) -> Result<Subscription> {
    let tail = "WHERE subscriptions.id = $1 AND subscriptions.organization_id = $2";
    let found = cx.tx.select(tail).bind(id).bind(cx.at).opt().await?;
    found.ok_or_else(|| Error::not_found("subscription"))
}

/// Returns the organization's subscription that is in force. An organization has at most one.
///
/// # Errors
/// Fails with 422 at `subscription_id` when there is none.
pub async fn in_force(cx: &mut Cx) -> Result<Subscription> {
    let tail = "WHERE subscriptions.organization_id = $1
                  AND subscriptions.status NOT IN ('canceled', 'expired')";
    let found: Option<Subscription> = cx.tx.select(tail).bind(cx.at).opt().await?;
    found.ok_or_else(|| {
        let detail = "`subscription_id` is required: the organization has no subscription in force. \
                      Create a subscription first.";
        Error::invalid("subscription_id", detail)
    })
}

/// Returns the code of the plan in force of each of these organizations that has one.
pub async fn plans_in_force<G>(
    cx: &mut Cx<G>,
    ids: &[OrganizationId],
) -> Result<Vec<(OrganizationId, String)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql =
        "SELECT s.organization_id, p.code FROM subscriptions s JOIN plans p ON p.id = s.plan_id
               WHERE s.status NOT IN ('canceled', 'expired') AND s.organization_id IN ";
    let query =
        cx.tx.q(sql).rows([ids], |query, ids| ids.iter().fold(query, |query, id| query.bind(*id)));
    Ok(query.all().await?)
}

/// Returns the subscriptions that are pinned to an older version of the plan.
pub async fn behind<G>(cx: &mut Cx<G>, plan: &Plan) -> Result<Vec<Subscription>> {
    let tail = "WHERE subscriptions.plan_id = $1 AND subscriptions.plan_version < $2
                  AND subscriptions.status NOT IN ('canceled', 'expired')
                ORDER BY subscriptions.id";
    Ok(cx.tx.select(tail).bind(plan.id).bind(plan.version).all().await?)
}

/// Returns the licenses whose own seats are above the seats of this version of the plan.
pub async fn capped_by<G>(
    cx: &mut Cx<G>,
    pinned: &Subscription,
    plan: &Plan,
) -> Result<Vec<LicenseId>> {
    let seat_cap = pinned.seats_on(plan);
    if seat_cap >= pinned.seat_cap {
        return Ok(Vec::new());
    }
    let above = seats::above(cx, pinned.id, seat_cap).await?;
    Ok(above.into_iter().map(|license| license.license_id).collect())
}

/// Moves all subscriptions of the plan to this version.
pub async fn move_to<G>(cx: &mut Cx<G>, plan: &Plan) -> Result<()> {
    for pinned in behind(cx, plan).await? {
        let sql = "UPDATE subscriptions SET plan_version = $2, seat_cap = $3, updated_at = $4
                   WHERE id = $1";
        let (at, seat_cap) = (after(pinned.updated_at, cx.now), pinned.seats_on(plan));
        let update = cx.tx.q(sql).bind(pinned.id).bind(plan.version).bind(seat_cap);
        update.bind(at).exec().await?;
        quotas::grant(cx, pinned.organization_id, &plan.limits, seat_cap).await?;
        kinds::refuse_changes(cx, Of::Subscription(pinned.id)).await?;
        organizations::touch(cx, pinned.organization_id).await?;
    }
    Ok(())
}

/// Reports a plan that does not exist at `plan_code`.
pub fn at_plan_code(error: Error) -> Error {
    match error.code() {
        ProblemCode::NotFound => {
            let detail = "`plan_code` must be the code of a plan: plan not found.";
            Error::new(ProblemCode::NotFound, detail).at("plan_code")
        }
        _ => error,
    }
}

/// Reports the conflict with the live subscription.
pub fn named<T>(done: Result<T, sqlx::Error>) -> Result<T> {
    done.on_conflict("subscriptions_organization_id", || {
        let detail = "The organization has a live subscription. Change it or cancel it.";
        Error::new(ProblemCode::SubscriptionExists, detail)
    })
}

/// Returns the seats of a subscription, and whether they come from the plan.
pub(super) fn seats_of(own: Option<SeatCap>, plan: &Plan) -> Result<(i64, bool)> {
    match (own, plan.seat_cap) {
        (Some(own), _) => Ok((own.0, false)),
        (None, Some(of_plan)) => Ok((of_plan, true)),
        (None, None) => {
            let detail = format!("`seat_cap` is required: plan `{}` sets none.", plan.code);
            Err(Error::invalid("seat_cap", detail))
        }
    }
}
