//! The billing account: the organization's subscription as the billing system sees it.
//!
//! The billing system decides: it sets a status directly, also one that no change of a subscription
//! allows. It may name a plan that does not exist yet.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::rows::named;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Org;
use crate::kernel::clock::after;
use crate::kernel::db::Conn;
use crate::kernel::db::record::{Object, Record};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::journal::record;
use crate::kernel::journal::record::Entry;
use crate::kernel::secret::{hex, sha256};
use crate::kernel::section::Section;
use crate::kernel::text::{ExternalId, PlanCode, Slug};
use crate::licensing::coverage::marks::{self, Changed};
use crate::licensing::ids::{PlanId, SubscriptionId};
use crate::licensing::plans::{self, Plan};
use crate::licensing::statuses::SubscriptionStatus;
use crate::tenancy::{organizations, quotas};

/// The account of the live subscription, or of the last one.
pub(super) const SECTION: Section = Section::one::<BillingAccount>("billing_account").order(
    "CASE WHEN subscriptions.status IN ('canceled', 'expired') THEN 1 ELSE 0 END,
     subscriptions.id DESC LIMIT 1",
);

crate::routes! {
    /// The billing account of an organization, as the billing system sees it.
    billing_account:
    /// Returns the organization's billing account.
    GET "/organizations/{org}/billing-account" BILLING_READ => read;
    /// Replaces the organization's billing account.
    ///
    /// The request pins the newest version of the plan and sets the status directly. A missing plan
    /// is created as a private plan that grants nothing until the vendor changes it.
    PUT "/organizations/{org}/billing-account" BILLING_WRITE => put;
}

/// The subscription that an organization pays for.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct BillingAccount {
    organization_id: OrganizationId,
    subscription_id: SubscriptionId,
    /// The plan's name in the billing system.
    plan: String,
    /// The plan's code on this server.
    plan_code: String,
    plan_version: i64,
    #[serde(skip)]
    plan_id: PlanId,
    #[serde(skip)]
    seat_cap: i64,
    billing_customer_id: Option<String>,
    status: SubscriptionStatus,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Record for BillingAccount {
    const TABLE: &'static str = "subscriptions JOIN plans ON plans.id = subscriptions.plan_id";
    const COLUMNS: &'static str = "subscriptions.organization_id,
        subscriptions.id AS subscription_id, COALESCE(subscriptions.billing_plan, plans.code) AS plan,
        plans.code AS plan_code, subscriptions.plan_version, subscriptions.plan_id,
        subscriptions.seat_cap, subscriptions.billing_customer_id, subscriptions.status,
        subscriptions.created_at, subscriptions.updated_at";
    const KEY: &'static str = "subscriptions.id";
    fn key(&self) -> Uuid {
        self.subscription_id.0
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBillingAccount {
    /// A plan's code in upper or lower case, or the billing system's own name for it, 1 to 255
    /// characters.
    plan: ExternalId,
    /// The customer's ID in the billing system.
    billing_customer_id: Option<ExternalId>,
    /// The subscription's status. `active` when absent.
    #[serde(default = "active")]
    status: SubscriptionStatus,
}

fn active() -> SubscriptionStatus {
    SubscriptionStatus::Active
}

async fn read(cx: &mut Cx, _: Org) -> Result<BillingAccount> {
    load(cx).await
}

async fn load(cx: &mut Cx) -> Result<BillingAccount> {
    let found = find(&mut cx.tx, cx.at).await?;
    found.ok_or_else(|| Error::not_found("billing account"))
}

/// Returns the live subscription, or the last one.
pub async fn find(tx: &mut Conn, organization: OrganizationId) -> Result<Option<BillingAccount>> {
    let tail = "WHERE subscriptions.organization_id = $1
                ORDER BY CASE WHEN subscriptions.status IN ('canceled', 'expired') THEN 1 ELSE 0 END,
                         subscriptions.id DESC
                LIMIT 1";
    Ok(tx.select(tail).bind(organization).opt().await?)
}

async fn put(cx: &mut Cx, _: Org, new: NewBillingAccount) -> Result<BillingAccount> {
    let plan = plan_of(cx, new.plan.as_str()).await?;
    let live = new.status.is_live();
    let ended = (new.status == SubscriptionStatus::Canceled).then_some(cx.now);
    match find(&mut cx.tx, cx.at).await? {
        Some(before) => {
            // Agreed seats stay while the plan stays.
            let seats = plan.seat_cap.filter(|_| plan.id != before.plan_id);
            let sql = "UPDATE subscriptions
                       SET plan_id = $3, plan_version = $4, seat_cap = $5,
                           seats_from_plan = seats_from_plan OR $14, billing_plan = $6,
                           billing_customer_id = $7, status = $8, updated_at = $9,
                           by_default = FALSE,
                           canceled_at = CASE WHEN $8 = 'expired' THEN canceled_at
                                              WHEN $10 IS NULL THEN NULL
                                              ELSE COALESCE(canceled_at, $10) END,
                           ends_at = CASE WHEN $11 AND ends_at <= $12 THEN NULL ELSE ends_at END
                       WHERE id = $1 AND organization_id = $2 AND updated_at = $13";
            let update = cx
                .tx
                .q(sql)
                .bind(before.subscription_id)
                .bind(cx.at)
                .bind(plan.id)
                .bind(plan.version)
                .bind(seats.unwrap_or(before.seat_cap))
                .bind(&new.plan)
                .bind(new.billing_customer_id)
                .bind(new.status)
                .bind(after(before.updated_at, cx.now))
                .bind(ended)
                .bind(live)
                .bind(cx.now)
                .bind(before.updated_at)
                .bind(seats.is_some());
            if named(update.exec().await)? == 0 {
                return Err(Error::stale());
            }
        }
        None => {
            let sql = "INSERT INTO subscriptions
                       (id, organization_id, plan_id, plan_version, status, seat_cap,
                        seats_from_plan, feature_overrides, starts_at, billing_plan,
                        billing_customer_id, canceled_at, created_at, updated_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $9, $9)";
            let insert = cx
                .tx
                .q(sql)
                .bind(SubscriptionId::new(&cx.app.random, cx.now))
                .bind(cx.at)
                .bind(plan.id)
                .bind(plan.version)
                .bind(new.status)
                // A plan without seats gets the minimum of a contract.
                .bind(plan.seat_cap.unwrap_or(1))
                .bind(plan.seat_cap.is_some())
                .bind(Object::default())
                .bind(cx.now)
                .bind(&new.plan)
                .bind(new.billing_customer_id)
                .bind(ended);
            named(insert.exec().await)?;
        }
    }
    let account = load(cx).await?;
    if live {
        quotas::grant(cx, cx.at, &plan.limits, account.seat_cap).await?;
    }
    organizations::touch(cx, cx.at).await?;
    marks::update(cx, cx.at, Changed::Subscription(account.subscription_id)).await?;
    Ok(account)
}

/// Returns the plan that the billing system names. Creates it if it does not exist.
async fn plan_of(cx: &mut Cx, text: &str) -> Result<Plan> {
    let code = code_of(text);
    let Some(made) = plans::private(cx, &code, text).await? else {
        return plans::newest(cx, code.as_str()).await;
    };
    let entry = Entry {
        action: "plans.create",
        organization: None,
        target: ("plan", made.code.clone()),
        before: None,
        after: Some(json!(made)),
        reason: Some("created for the billing account of an organization".to_owned()),
        issued: None,
    };
    record::append(cx, vec![entry]).await?;
    Ok(made)
}

/// Returns the code of a plan of this name: the name itself if it is a valid code. Otherwise the
/// code is the legible part of the name with a hash, so that no two names share a plan.
fn code_of(text: &str) -> PlanCode {
    let derived = || {
        let legible = Slug::from_name(text).map(Slug::into_string).unwrap_or_default();
        let legible: String = legible.chars().take(40).collect();
        format!(
            "billing-{}-{}",
            legible.trim_end_matches('-'),
            &hex(&sha256(text.as_bytes()))[..12]
        )
    };
    let code = text.to_lowercase().parse().or_else(|_| derived().parse());
    code.expect("a derived code has letters, digits and hyphens only, and fewer than 64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_names_a_plan() {
        assert_eq!(code_of("team").as_str(), "team");
        assert_eq!(code_of("Enterprise").as_str(), "enterprise");
        assert_eq!(code_of("Gold (yearly)").as_str(), "billing-gold-yearly-249fb022adfa");
        assert_ne!(code_of("Gold [yearly]"), code_of("Gold (yearly)"));
        for text in [
            "9",
            "!",
            " ",
            "日本",
            &"x".repeat(255),
            &"- ".repeat(100),
            "0190e0a0-0000-7000-8000-000000000000",
        ] {
            assert!(code_of(text).as_str().starts_with("billing-"), "{text}");
        }
    }
}
