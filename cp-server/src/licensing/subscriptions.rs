//! Subscriptions: an organization's contract for a plan.

pub mod billing;
mod default_subscription;
pub mod requests;
pub mod rows;

use chrono::{DateTime, SecondsFormat, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::coverage::marks::{self, Changed};
use super::leases::kinds::{self, Of};
use super::leases::settings::SettingSource;
use super::licenses::seats::{self, OwnSeats};
use super::plans;
use crate::kernel::access::place::Org;
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{Between, Patch};
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::Explanation;
use crate::licensing::ids::SubscriptionId;
use crate::tenancy::{organizations, quotas};

pub use self::default_subscription::begin;
use self::requests::{Cancellation, NewSubscription, SubscriptionPatch};
use self::rows::{Subscription, at_plan_code, load, named, seats_of};
pub use super::statuses::SubscriptionStatus;

crate::permissions! {
    /// Read subscriptions.
    SUBSCRIPTIONS_READ = "subscriptions:read", implied by ["org:read"];
    /// Create and change subscriptions.
    SUBSCRIPTIONS_WRITE = "subscriptions:write";
    /// Read the billing account.
    BILLING_READ = "billing:read", held by ["ORGANIZATION_ADMIN", "WORKSPACE_ADMIN"];
    /// Set the billing account. Not `billing:manage`, which an organization's owner has: a caller
    /// that sets the plan sets what is paid for.
    BILLING_WRITE = "billing:write";
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "subscriptions",
    "subscription",
    Export::Sections(&[Section::many::<Subscription>("subscriptions"), billing::SECTION]),
)
.permissions(PERMISSIONS);

crate::routes! {
    /// The contracts of organizations for plans.
    subscriptions declares DECLARATION:
    /// Lists the organization's subscriptions.
    GET "/organizations/{org}/subscriptions" SUBSCRIPTIONS_READ => list;
    /// Subscribes the organization to the newest version of a plan.
    ///
    /// It replaces the default subscription of an organization that was created without a plan.
    POST "/organizations/{org}/subscriptions" SUBSCRIPTIONS_WRITE => create, local;
    /// Returns a subscription.
    GET "/subscriptions/{id}" SUBSCRIPTIONS_READ => read;
    /// Changes a subscription. A `plan_code` moves it to that plan's newest version.
    ///
    /// Seats that came from the plan change with the plan. If they fall below the `seat_cap` of a
    /// license, the change is refused with these licenses (409 `in_use`), unless `allow_more_seats`
    /// or `lower_licenses` is true. A request with a `seat_cap` is not refused: the next tokens of
    /// such licenses have the subscription's seats.
    ///
    /// Tokens are suspended while the subscription is paused, canceled or expired. They are also
    /// suspended after its end or the trial's end and the license's days of grace.
    PATCH "/subscriptions/{id}" SUBSCRIPTIONS_WRITE => update, local;
    /// Cancels a subscription, now or at a later instant. Its tokens are suspended from then on.
    POST "/subscriptions/{id}/cancel" SUBSCRIPTIONS_WRITE => cancel, local;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionFilter {
    /// Only subscriptions with this status.
    status: Option<SubscriptionStatus>,
    /// Only the subscription with this `external_id`.
    external_id: Option<String>,
}

async fn list(cx: &mut Cx, _: Org, list: List<SubscriptionFilter>) -> Result<Page<Subscription>> {
    let filter = &list.filter;
    let query = cx
        .tx
        .select("WHERE subscriptions.organization_id = $1")
        .bind(cx.at)
        .and_some(" AND subscriptions.status = ?", filter.status)
        .and_some(" AND subscriptions.external_id = ?", filter.external_id.as_deref());
    list.page(query).await
}

pub(crate) async fn create(
    cx: &mut Cx,
    _: Org,
    new: NewSubscription,
) -> Result<Created<Subscription>> {
    let plan = plans::newest(cx, new.plan_code.as_str()).await.map_err(at_plan_code)?;
    let (seat_cap, seats_from_plan) = seats_of(new.seat_cap, &plan)?;
    let starts_at = new.starts_at.map_or(cx.now, |at| at.0);
    let (ends_at, trial_ends_at) = (new.ends_at.map(|at| at.0), new.trial_ends_at.map(|at| at.0));
    check_window(starts_at, ends_at, trial_ends_at)?;
    let status = new.status.unwrap_or(match new.trial_ends_at {
        Some(_) => SubscriptionStatus::Trialing,
        None => SubscriptionStatus::Active,
    });
    if status.is_live() {
        default_subscription::give_way(cx).await?;
    }
    let id = SubscriptionId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO subscriptions
               (id, organization_id, plan_id, plan_version, status, seat_cap, seats_from_plan,
                feature_overrides, starts_at, ends_at, trial_ends_at, external_id,
                billing_customer_id, billing_email, currency, next_invoice_amount, created_at,
                updated_at, leasing, token_ttl_seconds)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                       $17, $18, $19)";
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(plan.id)
        .bind(plan.version)
        .bind(status)
        .bind(seat_cap)
        .bind(seats_from_plan)
        .bind(new.features)
        .bind(starts_at)
        .bind(ends_at)
        .bind(trial_ends_at)
        .bind(new.external_id)
        .bind(new.billing_customer_id)
        .bind(new.billing_email)
        .bind(new.currency)
        .bind(new.next_invoice_amount.map(|n| n.0))
        .bind(cx.now)
        .bind(new.leasing.over(&[(SettingSource::Plan, &plan.leasing)])?)
        .bind(new.token_ttl_seconds.map(|ttl| ttl.0));
    named(insert.exec().await)?;
    if status.is_live() {
        quotas::grant(cx, cx.at, &plan.limits, seat_cap).await?;
    }
    organizations::touch(cx, cx.at).await?;
    load(cx, id).await.map(Created)
}

async fn read(cx: &mut Cx, id: SubscriptionId) -> Result<Subscription> {
    load(cx, id).await
}

pub(crate) async fn update(
    cx: &mut Cx,
    id: SubscriptionId,
    patch: SubscriptionPatch,
) -> Result<Subscription> {
    let before = load(cx, id).await?;
    let status = patch.status.unwrap_or(before.status);
    check_change(before.status, status)?;
    let plan = match &patch.plan_code {
        Some(code) => plans::newest(cx, code.as_str()).await.map_err(at_plan_code)?,
        None => plans::at_version(&mut cx.tx, before.plan_id, before.plan_version).await?,
    };
    let (seat_cap, seats_from_plan) = match patch.seat_cap {
        Patch::Keep if !before.seats_from_plan => (before.seat_cap, false),
        // The pinned version of the plan stays, and so do the seats.
        Patch::Keep if patch.plan_code.is_none() => (before.seat_cap, true),
        Patch::Keep | Patch::Clear => seats_of(None, &plan)?,
        Patch::Set(cap) => seats_of(Some(cap), &plan)?,
    };
    let own_seats = match (patch.allow_more_seats, patch.lower_licenses, &patch.seat_cap) {
        (true, true, _) => {
            let detail = "`lower_licenses` cannot be combined with `allow_more_seats`. Send one.";
            return Err(Error::invalid("lower_licenses", detail));
        }
        (true, false, _) => OwnSeats::Allow,
        (false, true, _) => OwnSeats::Lower,
        (false, false, Patch::Set(_)) => OwnSeats::Cap,
        (false, false, _) => OwnSeats::Refuse,
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
    let leasing = match patch.leasing {
        Some(pools) => pools.over(&[(SettingSource::Plan, &plan.leasing)])?,
        None => before.leasing,
    };
    let token_ttl = patch.token_ttl_seconds.over(before.token_ttl_seconds.map(Between));
    let sql = "UPDATE subscriptions
               SET plan_id = $3, plan_version = $4, status = $5, seat_cap = $6,
                   seats_from_plan = $7, feature_overrides = $8, starts_at = $9, ends_at = $10,
                   trial_ends_at = $11, canceled_at = $12, external_id = $13,
                   billing_customer_id = $14, billing_email = $15, currency = $16,
                   next_invoice_amount = $17, updated_at = $18, by_default = FALSE, leasing = $20,
                   token_ttl_seconds = $21,
                   billing_plan = CASE WHEN plan_id = $3 THEN billing_plan END
               WHERE id = $1 AND organization_id = $2 AND updated_at = $19";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(plan.id)
        .bind(plan.version)
        .bind(status)
        .bind(seat_cap)
        .bind(seats_from_plan)
        .bind(patch.features.unwrap_or(before.features))
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
        .bind(before.updated_at)
        .bind(leasing)
        .bind(token_ttl.map(|ttl| ttl.0));
    if named(update.exec().await)? == 0 {
        return Err(Error::stale());
    }
    if seat_cap < before.seat_cap {
        seats::settle(cx, id, seat_cap, own_seats).await?;
    }
    kinds::refuse_changes(cx, Of::Subscription(id)).await?;
    if status.is_live() {
        quotas::grant(cx, cx.at, &plan.limits, seat_cap).await?;
    }
    organizations::touch(cx, cx.at).await?;
    marks::update(cx, cx.at, Changed::Subscription(id)).await?;
    load(cx, id).await
}

async fn cancel(
    cx: &mut Cx,
    id: SubscriptionId,
    cancellation: Cancellation,
) -> Result<Subscription> {
    cx.audit.reason = cancellation.reason.map(Explanation::into_string);
    let before = load(cx, id).await?;
    let at = cancellation.at.map_or(cx.now, |at| at.0);
    if at < before.starts_at {
        let start = before.starts_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let detail = format!("`at` must not be before the subscription's `starts_at`, {start}.");
        return Err(Error::invalid("at", detail));
    }
    // A later end keeps the paid time; the status changes at that end.
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
        .bind(cx.at)
        .bind(status)
        .bind(cx.now)
        .bind(ends_at)
        .bind(after(before.updated_at, cx.now))
        .bind(before.updated_at);
    if update.exec().await? == 0 {
        return Err(Error::stale());
    }
    organizations::touch(cx, cx.at).await?;
    marks::update(cx, cx.at, Changed::Subscription(id)).await?;
    load(cx, id).await
}

fn check_change(before: SubscriptionStatus, next: SubscriptionStatus) -> Result<()> {
    if before == next || before.may_become(next) {
        return Ok(());
    }
    let detail = format!("`status` cannot change from {before} to {next}.");
    Err(Error::new(ProblemCode::StatusChangeRefused, detail).at("status"))
}

fn check_window(
    starts_at: DateTime<Utc>,
    ends_at: Option<DateTime<Utc>>,
    trial_ends_at: Option<DateTime<Utc>>,
) -> Result<()> {
    if ends_at.is_some_and(|end| end <= starts_at) {
        return Err(Error::invalid("ends_at", "`ends_at` must be later than `starts_at`."));
    }
    if let (Some(trial), Some(end)) = (trial_ends_at, ends_at)
        && trial > end
    {
        let detail = "`trial_ends_at` must be at most `ends_at`.";
        return Err(Error::invalid("trial_ends_at", detail));
    }
    Ok(())
}
