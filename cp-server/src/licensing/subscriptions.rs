//! Subscriptions: an organization's contract for a plan.

mod beginning;
pub mod billing;

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::coverage::marks::{self, Changed};
use super::plans::{self, Plan};
use crate::kernel::answer::{Created, Resource};
use crate::kernel::clock::after;
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::ids::{OrganizationId, PlanId, SubscriptionId};
use crate::kernel::json::{Between, Moment, Patch, SeatCap};
use crate::kernel::page::{List, Page};
use crate::kernel::place::Org;
use crate::kernel::record::{Object, Record};
use crate::kernel::text::{Currency, Email, ExternalId, PlanCode, Prose};
use crate::tenancy::{organizations, quotas};

pub use super::statuses::SubscriptionStatus;
pub use beginning::begin;

crate::routes! { subscriptions:
    /// Lists the organization's subscriptions.
    GET "/organizations/{org}/subscriptions" SubscriptionsRead => list;
    /// Subscribes the organization to the newest version of a plan.
    ///
    /// The plan that nobody chose, which an organization begins with, gives way to it.
    POST "/organizations/{org}/subscriptions" SubscriptionsWrite => create;
    /// Reads a subscription.
    GET "/subscriptions/{id}" SubscriptionsRead => read;
    /// Changes a subscription; a `plan_code` moves it to that plan's newest version.
    ///
    /// Tokens are suspended while the subscription covers none of its licenses: when it is paused,
    /// canceled or expired, and from its end or the trial's end on, with the license's days of grace.
    PATCH "/subscriptions/{id}" SubscriptionsWrite => update;
    /// Cancels a subscription, now or at a later instant; from then on its tokens are suspended.
    POST "/subscriptions/{id}/cancel" SubscriptionsWrite => cancel;
}

impl SubscriptionStatus {
    /// Every legal change of status.
    fn may_become(self, next: Self) -> bool {
        use SubscriptionStatus::{Active, Canceled, Expired, PastDue, Paused, Trialing};
        match self {
            Trialing => matches!(next, Active | PastDue | Paused | Canceled | Expired),
            Active => matches!(next, PastDue | Paused | Canceled | Expired),
            PastDue => matches!(next, Active | Paused | Canceled | Expired),
            Paused => matches!(next, Active | PastDue | Canceled | Expired),
            // A customer who comes back takes up the contract again.
            Canceled => matches!(next, Active | Expired),
            Expired => matches!(next, Active),
        }
    }

    /// Whether it is the one subscription that an organization has.
    fn is_live(self) -> bool {
        !matches!(self, Self::Canceled | Self::Expired)
    }
}

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
    /// Laid over the plan's features.
    pub feature_overrides: Object,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub canceled_at: Option<DateTime<Utc>>,
    pub external_id: Option<ExternalId>,
    pub billing_customer_id: Option<ExternalId>,
    pub billing_email: Option<Email>,
    pub currency: Option<Currency>,
    /// In cents.
    pub next_invoice_amount: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Record for Subscription {
    const TABLE: &'static str = "subscriptions JOIN plans ON plans.id = subscriptions.plan_id";
    const COLUMNS: &'static str = "subscriptions.id, subscriptions.organization_id,
        plans.code AS plan_code, subscriptions.plan_id, subscriptions.plan_version,
        subscriptions.status, subscriptions.seat_cap, subscriptions.feature_overrides,
        subscriptions.starts_at, subscriptions.ends_at, subscriptions.trial_ends_at,
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

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionFilter {
    status: Option<SubscriptionStatus>,
    external_id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSubscription {
    plan_code: PlanCode,
    /// Trialing when `trial_ends_at` is given and this is absent, else active.
    status: Option<SubscriptionStatus>,
    /// The plan's when absent.
    seat_cap: Option<SeatCap>,
    #[serde(default)]
    feature_overrides: Object,
    /// Now when absent.
    starts_at: Option<Moment>,
    ends_at: Option<Moment>,
    trial_ends_at: Option<Moment>,
    external_id: Option<ExternalId>,
    billing_customer_id: Option<ExternalId>,
    billing_email: Option<Email>,
    currency: Option<Currency>,
    next_invoice_amount: Option<Cents>,
}

type Cents = Between<0, { i64::MAX }>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionPatch {
    plan_code: Option<PlanCode>,
    status: Option<SubscriptionStatus>,
    seat_cap: Option<SeatCap>,
    /// Replaces all of them.
    feature_overrides: Option<Object>,
    starts_at: Option<Moment>,
    #[serde(default)]
    ends_at: Patch<Moment>,
    #[serde(default)]
    trial_ends_at: Patch<Moment>,
    #[serde(default)]
    external_id: Patch<ExternalId>,
    #[serde(default)]
    billing_customer_id: Patch<ExternalId>,
    #[serde(default)]
    billing_email: Patch<Email>,
    #[serde(default)]
    currency: Patch<Currency>,
    #[serde(default)]
    next_invoice_amount: Patch<Cents>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// Until when the customer keeps what was paid for; at once when absent.
    at: Option<Moment>,
    /// For the audit event.
    reason: Option<Prose>,
}

async fn list(cx: &mut Cx, _: Org, list: List<SubscriptionFilter>) -> Result<Page<Subscription>> {
    let filter = &list.filter;
    let query = cx
        .tx
        .select("WHERE subscriptions.organization_id = $1")
        .bind(cx.org)
        .and_some(" AND subscriptions.status = ?", filter.status)
        .and_some(" AND subscriptions.external_id = ?", filter.external_id.as_deref());
    list.page(query).await
}

async fn create(cx: &mut Cx, _: Org, new: NewSubscription) -> Result<Created<Subscription>> {
    let plan = plans::newest(cx, new.plan_code.as_str()).await.map_err(at_plan_code)?;
    let seat_cap = new.seat_cap.map(|cap| cap.0).or(plan.seat_cap).ok_or_else(|| {
        Error::invalid("seat_cap", "seat_cap: the plan has none, so the subscription needs one")
    })?;
    let starts_at = new.starts_at.map_or(cx.now, |at| at.0);
    let (ends_at, trial_ends_at) = (new.ends_at.map(|at| at.0), new.trial_ends_at.map(|at| at.0));
    check_window(starts_at, ends_at, trial_ends_at)?;
    let status = new.status.unwrap_or(match new.trial_ends_at {
        Some(_) => SubscriptionStatus::Trialing,
        None => SubscriptionStatus::Active,
    });
    if status.is_live() {
        beginning::give_way(cx).await?;
    }
    let id = SubscriptionId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO subscriptions
               (id, organization_id, plan_id, plan_version, status, seat_cap, feature_overrides,
                starts_at, ends_at, trial_ends_at, external_id, billing_customer_id,
                billing_email, currency, next_invoice_amount, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16)";
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.org)
        .bind(plan.id)
        .bind(plan.version)
        .bind(status)
        .bind(seat_cap)
        .bind(new.feature_overrides)
        .bind(starts_at)
        .bind(ends_at)
        .bind(trial_ends_at)
        .bind(new.external_id)
        .bind(new.billing_customer_id)
        .bind(new.billing_email)
        .bind(new.currency)
        .bind(new.next_invoice_amount.map(|n| n.0))
        .bind(cx.now);
    named(insert.exec().await)?;
    if status.is_live() {
        quotas::grant(cx, cx.org, &plan.limits).await?;
    }
    organizations::touch(cx, cx.org).await?;
    load(cx, id).await.map(Created)
}

async fn read(cx: &mut Cx, id: SubscriptionId) -> Result<Subscription> {
    load(cx, id).await
}

async fn update(cx: &mut Cx, id: SubscriptionId, patch: SubscriptionPatch) -> Result<Subscription> {
    let before = load(cx, id).await?;
    let status = patch.status.unwrap_or(before.status);
    check_change(before.status, status)?;
    let plan = match &patch.plan_code {
        Some(code) => plans::newest(cx, code.as_str()).await.map_err(at_plan_code)?,
        None => plans::at_version(&mut cx.tx, before.plan_id, before.plan_version).await?,
    };
    let starts_at = patch.starts_at.map_or(before.starts_at, |at| at.0);
    let ends_at = patch.ends_at.map(|at| at.0).over(before.ends_at);
    let trial_ends_at = patch.trial_ends_at.map(|at| at.0).over(before.trial_ends_at);
    check_window(starts_at, ends_at, trial_ends_at)?;
    let canceled_at = match status {
        SubscriptionStatus::Canceled => before.canceled_at.or(Some(cx.now)),
        SubscriptionStatus::Expired => before.canceled_at,
        _ => None,
    };
    let sql = "UPDATE subscriptions
               SET plan_id = $3, plan_version = $4, status = $5, seat_cap = $6,
                   feature_overrides = $7, starts_at = $8, ends_at = $9, trial_ends_at = $10,
                   canceled_at = $11, external_id = $12, billing_customer_id = $13,
                   billing_email = $14, currency = $15, next_invoice_amount = $16,
                   updated_at = $17, by_default = FALSE,
                   billing_plan = CASE WHEN plan_id = $3 THEN billing_plan END
               WHERE id = $1 AND organization_id = $2 AND updated_at = $18";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.org)
        .bind(plan.id)
        .bind(plan.version)
        .bind(status)
        .bind(patch.seat_cap.map_or(before.seat_cap, |cap| cap.0))
        .bind(patch.feature_overrides.unwrap_or(before.feature_overrides))
        .bind(starts_at)
        .bind(ends_at)
        .bind(trial_ends_at)
        .bind(canceled_at)
        .bind(patch.external_id.over(before.external_id))
        .bind(patch.billing_customer_id.over(before.billing_customer_id))
        .bind(patch.billing_email.over(before.billing_email))
        .bind(patch.currency.over(before.currency))
        .bind(patch.next_invoice_amount.over(before.next_invoice_amount.map(Between)).map(|n| n.0))
        .bind(after(before.updated_at, cx.now))
        .bind(before.updated_at);
    if named(update.exec().await)? == 0 {
        return Err(Error::stale());
    }
    if status.is_live() {
        quotas::grant(cx, cx.org, &plan.limits).await?;
    }
    organizations::touch(cx, cx.org).await?;
    marks::update(cx, cx.org, Changed::Subscription(id)).await?;
    load(cx, id).await
}

async fn cancel(
    cx: &mut Cx,
    id: SubscriptionId,
    cancellation: Cancellation,
) -> Result<Subscription> {
    cx.trail.reason = cancellation.reason.map(Prose::into_string);
    let before = load(cx, id).await?;
    let at = cancellation.at.map_or(cx.now, |at| at.0);
    if at < before.starts_at {
        return Err(Error::invalid("at", "at: the subscription has not begun by then"));
    }
    // A later end keeps what was paid for; the status changes when it is there.
    let (status, ends_at) = if at > cx.now {
        (before.status, Some(before.ends_at.map_or(at, |end| end.min(at))))
    } else {
        check_change(before.status, SubscriptionStatus::Canceled)?;
        (SubscriptionStatus::Canceled, before.ends_at)
    };
    let sql = "UPDATE subscriptions
               SET status = $3, canceled_at = $4, ends_at = $5, updated_at = $6
               WHERE id = $1 AND organization_id = $2 AND updated_at = $7";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.org)
        .bind(status)
        .bind(cx.now)
        .bind(ends_at)
        .bind(after(before.updated_at, cx.now))
        .bind(before.updated_at);
    if update.exec().await? == 0 {
        return Err(Error::stale());
    }
    organizations::touch(cx, cx.org).await?;
    marks::update(cx, cx.org, Changed::Subscription(id)).await?;
    load(cx, id).await
}

pub async fn load(cx: &mut Cx, id: SubscriptionId) -> Result<Subscription> {
    let tail = "WHERE subscriptions.id = $1 AND subscriptions.organization_id = $2";
    let found = cx.tx.select(tail).bind(id).bind(cx.org).opt().await?;
    found.ok_or_else(|| Error::not_found("subscription"))
}

/// The subscriptions that are pinned to an older version of the plan.
pub async fn behind<G>(cx: &mut Cx<G>, plan: &Plan) -> Result<Vec<Subscription>> {
    let tail = "WHERE subscriptions.plan_id = $1 AND subscriptions.plan_version < $2
                  AND subscriptions.status NOT IN ('canceled', 'expired')
                ORDER BY subscriptions.id";
    Ok(cx.tx.select(tail).bind(plan.id).bind(plan.version).all().await?)
}

/// Moves them all to this version.
pub async fn move_to<G>(cx: &mut Cx<G>, plan: &Plan) -> Result<()> {
    for pinned in behind(cx, plan).await? {
        let sql = "UPDATE subscriptions SET plan_version = $2, updated_at = $3 WHERE id = $1";
        let at = after(pinned.updated_at, cx.now);
        cx.tx.q(sql).bind(pinned.id).bind(plan.version).bind(at).exec().await?;
        quotas::grant(cx, pinned.organization_id, &plan.limits).await?;
        organizations::touch(cx, pinned.organization_id).await?;
    }
    Ok(())
}

pub async fn purge(cx: &mut Cx) -> Result<()> {
    cx.tx.q("DELETE FROM subscriptions WHERE organization_id = $1").bind(cx.org).exec().await?;
    Ok(())
}

fn at_plan_code(error: Error) -> Error {
    match error.code() {
        ProblemCode::NotFound => {
            Error::new(ProblemCode::NotFound, "plan_code: plan not found").at("plan_code")
        }
        _ => error,
    }
}

fn check_change(before: SubscriptionStatus, next: SubscriptionStatus) -> Result<()> {
    if before == next || before.may_become(next) {
        return Ok(());
    }
    let detail = format!("status: a subscription that is {before} cannot become {next}.");
    Err(Error::new(ProblemCode::StatusChangeRefused, detail).at("status"))
}

fn check_window(
    starts_at: DateTime<Utc>,
    ends_at: Option<DateTime<Utc>>,
    trial_ends_at: Option<DateTime<Utc>>,
) -> Result<()> {
    if ends_at.is_some_and(|end| end <= starts_at) {
        return Err(Error::invalid("ends_at", "ends_at: it must be later than starts_at"));
    }
    if let (Some(trial), Some(end)) = (trial_ends_at, ends_at)
        && trial > end
    {
        return Err(Error::invalid("trial_ends_at", "trial_ends_at: it is later than ends_at"));
    }
    Ok(())
}

fn named<T>(done: Result<T, sqlx::Error>) -> Result<T> {
    done.on_conflict("subscriptions_organization_id", || {
        let detail = "The organization has a live subscription; change or cancel that one.";
        Error::new(ProblemCode::SubscriptionExists, detail)
    })
    .on_conflict("subscriptions_external_id", || {
        let detail = "external_id: another subscription of the organization has it.";
        Error::new(ProblemCode::ExternalIdTaken, detail).at("external_id")
    })
}
