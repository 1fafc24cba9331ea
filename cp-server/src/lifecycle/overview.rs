//! Overviews: counts, and what needs the attention of a person.
//!
//! # Design
//! An overview is read often and shows no exact large number, so each count and each list ends early and
//! reads an index. An item names the operation that settles it; the operation still decides.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::Platform;
use crate::kernel::app::Part;
use crate::kernel::clock::first_id;
use crate::kernel::db::Conn;
use crate::kernel::db::query::Query;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::keys::keyring::Keyring;

crate::routes! {
    /// Counts, and what needs the attention of a person.
    overview:
    /// Returns the overview of the platform.
    GET "/overview" ORG_READ => platform;
    /// Returns the overview of an organization.
    GET "/organizations/{org}/overview" ORG_READ => organization;
}

/// The largest count.
const MOST: i64 = 10_000;
/// The most items of one kind.
const ITEMS: i64 = 10;
/// The time before an end from which it needs attention.
const SOON: TimeDelta = TimeDelta::days(30);
/// The time before the next key from which it is shown.
const ROTATION: TimeDelta = TimeDelta::days(7);

/// A count of at most 10,000.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Count {
    value: i64,
    /// Whether there are more.
    more: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Overview {
    /// The organizations; 1 in the overview of one.
    organizations: Count,
    /// The organizations that are suspended.
    suspended_organizations: Count,
    /// The licenses that are not revoked.
    licenses: Count,
    /// The licenses whose coverage ends within 30 days.
    ending_licenses: Count,
    deployments: Count,
    /// The people with a membership.
    members: Count,
    /// The tokens signed since the beginning of the day, UTC.
    tokens_today: Count,
    /// What needs attention, the most urgent first: at most 10 of each kind.
    attention: Vec<Item>,
}

crate::text_enum! {
    /// The kind of an item.
    Attention {
        OrganizationSuspended = "organization_suspended",
        SubscriptionPastDue = "subscription_past_due",
        WebhookDisabled = "webhook_disabled",
        LicenseSuspended = "license_suspended",
        LicenseEnding = "license_ending",
        TrialEnding = "trial_ending",
        ServiceTokenEnding = "service_token_ending",
        KeyRotation = "key_rotation",
    }
}

/// Something that needs the attention of a person.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Item {
    kind: Attention,
    /// The object; null for the signing keys.
    id: Option<Uuid>,
    /// The name of the object.
    label: String,
    organization_id: Option<OrganizationId>,
    organization_name: Option<String>,
    /// The end that comes, or null.
    at: Option<DateTime<Utc>>,
    /// The operation that settles it; null when there is nothing to do.
    operation: Option<&'static str>,
}

/// How items of one kind are found.
struct Source {
    kind: Attention,
    operation: &'static str,
    /// The statement: ID, label, organization, its name, and an end.
    select: &'static str,
    /// The column of an end within the next 30 days.
    end: Option<&'static str>,
    owner: &'static str,
    order: &'static str,
}

const SOURCES: [Source; 7] = [
    Source {
        kind: Attention::OrganizationSuspended,
        operation: "organizations.update",
        select: "SELECT o.id, o.name, o.id, o.name, NULL FROM organizations o
                 WHERE o.status <> 'active'",
        end: None,
        owner: "o.id",
        order: "o.id DESC",
    },
    Source {
        kind: Attention::SubscriptionPastDue,
        operation: "subscriptions.update",
        select: "SELECT s.id, p.code, o.id, o.name, s.ends_at
                 FROM subscriptions s JOIN organizations o ON o.id = s.organization_id
                 JOIN plans p ON p.id = s.plan_id WHERE s.status = 'past_due'",
        end: None,
        owner: "s.organization_id",
        order: "s.id DESC",
    },
    Source {
        kind: Attention::WebhookDisabled,
        operation: "webhooks.enable",
        select: "SELECT w.id, COALESCE(w.name, w.url), o.id, o.name, NULL
                 FROM webhooks w LEFT JOIN organizations o ON o.id = w.organization_id
                 WHERE w.status = 'disabled' AND w.disabled_reason <> 'requested'",
        end: None,
        owner: "w.organization_id",
        order: "w.id DESC",
    },
    Source {
        kind: Attention::LicenseSuspended,
        operation: "licenses.reinstate",
        select: "SELECT l.id, COALESCE(l.name, d.name), o.id, o.name, l.over_at
                 FROM licenses l JOIN organizations o ON o.id = l.organization_id
                 JOIN deployments d ON d.id = l.deployment_id WHERE l.status = 'suspended'",
        end: None,
        owner: "l.organization_id",
        order: "l.id DESC",
    },
    Source {
        kind: Attention::LicenseEnding,
        operation: "licenses.renew",
        select: "SELECT l.id, COALESCE(l.name, d.name), o.id, o.name, l.over_at
                 FROM licenses l JOIN organizations o ON o.id = l.organization_id
                 JOIN deployments d ON d.id = l.deployment_id
                 WHERE l.status = 'active'",
        end: Some("l.over_at"),
        owner: "l.organization_id",
        order: "l.over_at",
    },
    Source {
        kind: Attention::TrialEnding,
        operation: "subscriptions.update",
        select: "SELECT s.id, p.code, o.id, o.name, s.trial_ends_at
                 FROM subscriptions s JOIN organizations o ON o.id = s.organization_id
                 JOIN plans p ON p.id = s.plan_id
                 WHERE s.status = 'trialing'",
        end: Some("s.trial_ends_at"),
        owner: "s.organization_id",
        order: "s.trial_ends_at",
    },
    Source {
        kind: Attention::ServiceTokenEnding,
        operation: "service_tokens.rotate",
        select: "SELECT t.id, t.name, o.id, o.name, t.expires_at
                 FROM service_tokens t LEFT JOIN organizations o ON o.id = t.organization_id
                 WHERE t.revoked_at IS NULL",
        end: Some("t.expires_at"),
        owner: "t.organization_id",
        order: "t.expires_at",
    },
];

async fn platform(cx: &mut Cx<Scope>, _: Platform) -> Result<Overview> {
    let mut found = overview(&mut cx.tx, None, cx.now).await?;
    let next = Keyring::of(&cx.app).next_rotation_at();
    let next = next.filter(|at| *at - cx.now < ROTATION);
    found.attention.extend(next.map(|at| Item {
        kind: Attention::KeyRotation,
        id: None,
        label: "signing key".to_owned(),
        organization_id: None,
        organization_name: None,
        at: Some(at),
        operation: None,
    }));
    Ok(found)
}

async fn organization(cx: &mut Cx, _: Org) -> Result<Overview> {
    overview(&mut cx.tx, Some(cx.at), cx.now).await
}

async fn overview(
    tx: &mut Conn,
    own: Option<OrganizationId>,
    now: DateTime<Utc>,
) -> Result<Overview> {
    let mut attention = Vec::new();
    for source in &SOURCES {
        attention.extend(items(tx, source, own, now).await?);
    }
    let own_of = |owner| own.map(|own| (owner, own));
    let of_rows = own_of(" AND organization_id = ?");
    let of_organizations = own_of(" AND id = ?");
    Ok(Overview {
        organizations: count(counting(tx, "organizations WHERE TRUE"), of_organizations).await?,
        suspended_organizations: {
            let suspended = counting(tx, "organizations WHERE status <> 'active'");
            count(suspended, of_organizations).await?
        },
        licenses: count(counting(tx, "licenses WHERE status <> 'revoked'"), of_rows).await?,
        ending_licenses: {
            let ending = counting(tx, "licenses WHERE status = 'active'");
            let ending = ending.and(" AND over_at > ?", now).and(" AND over_at <= ?", now + SOON);
            count(ending, of_rows).await?
        },
        deployments: count(counting(tx, "deployments WHERE TRUE"), of_rows).await?,
        members: {
            count(counting(tx, "memberships WHERE scope = 'organization'"), of_rows).await?
        },
        tokens_today: {
            let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
            let today = counting(tx, "bundles WHERE TRUE").and(" AND id >= ?", first_id(midnight));
            count(today, of_rows).await?
        },
        attention,
    })
}

pub(super) fn counting<'c>(tx: &'c mut Conn, rows: &'static str) -> Query<'c> {
    tx.q("SELECT COUNT(*) FROM (SELECT 1 FROM ").sql(rows)
}

/// Counts the rows of all organizations, or of one.
pub(super) async fn count(
    query: Query<'_>,
    own: Option<(&'static str, OrganizationId)>,
) -> Result<Count> {
    let query = match own {
        Some((owner, own)) => query.and(owner, own),
        None => query,
    };
    let count: i64 = query.limit(MOST + 1).sql(") AS counted").value().await?.unwrap_or(0);
    Ok(Count { value: count.min(MOST), more: count > MOST })
}

async fn items(
    tx: &mut Conn,
    source: &Source,
    own: Option<OrganizationId>,
    now: DateTime<Utc>,
) -> Result<Vec<Item>> {
    let query = tx.q(source.select);
    let query = match source.end {
        Some(end) => query
            .sql(" AND ")
            .sql(end)
            .and(" > ?", now)
            .sql(" AND ")
            .sql(end)
            .and(" <= ?", now + SOON),
        None => query,
    };
    let query = match own {
        Some(own) => query.sql(" AND ").sql(source.owner).and(" = ?", own),
        None => query,
    };
    let query = query.sql(" ORDER BY ").sql(source.order).limit(ITEMS);
    type Row = (Uuid, String, Option<OrganizationId>, Option<String>, Option<DateTime<Utc>>);
    let found: Vec<Row> = query.all().await?;
    let items = found.into_iter().map(|(id, label, organization_id, organization_name, at)| Item {
        kind: source.kind,
        id: Some(id),
        label,
        organization_id,
        organization_name,
        at,
        operation: Some(source.operation),
    });
    Ok(items.collect())
}
