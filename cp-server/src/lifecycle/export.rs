//! Everything that an organization has, in one document.
//!
//! # Design
//! The document is one state of the database: all sections are read in one transaction. It is
//! written while it is read, row by row, into a channel of few places; a reader that is slow makes
//! the database wait, and what is in memory never grows with the organization. Each section is one
//! line of the table below, from which come the document and its schema.
//!
//! Secrets cannot get in: no record reads the column of one.

mod shape;
mod writer;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use writer::{Broken, Form, Kept, Writer, sections, with};

use crate::audit::AuditEvent;
use crate::identity::invitations::{Invitation, InvitationRow};
use crate::identity::memberships::{Membership, MembershipRow, MembershipStatus};
use crate::identity::providers::IdentityProvider;
use crate::identity::roles::Role;
use crate::identity::service_tokens::ServiceToken;
use crate::identity::users::AuthAccount;
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::place::Org;
use crate::kernel::access::shares::Shares;
use crate::kernel::app;
use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Record;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{StreamOf, Streamed};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Moment;
use crate::licensing::bundles::rows::Bundle;
use crate::licensing::deployments::Deployment;
use crate::licensing::entitlement::{License, LicenseRow};
use crate::licensing::subscriptions::billing::BillingAccount;
use crate::licensing::subscriptions::rows::Subscription;
use crate::licensing::usage_reports::UsageReport;
use crate::metering::counters::{self, EVER, Interval, Part, Question};
use crate::metering::limits::Limit;
use crate::metering::quantity::Quantity;
use crate::metering::usage::UsageEvent;
use crate::tenancy::artifacts::Artifact;
use crate::tenancy::groups::Group;
use crate::tenancy::ids::GroupId;
use crate::tenancy::organizations::Organization;
use crate::tenancy::projects::Project;
use crate::tenancy::quotas::{self, QuotaOfMetric};
use crate::tenancy::secret_refs::SecretRef;
use crate::tenancy::workspaces::Workspace;

crate::routes! { organizations:
    /// Exports everything that the organization has, without secrets and tokens.
    ///
    /// `Accept: application/x-ndjson` gets the same line by line: `{"kind", "data"}`, the kind
    /// being the member's name in the JSON document. The last line is `exported_at`; without it the
    /// export is not complete. An organization exports itself once at a time. `since` and `until`, both
    /// inclusive, narrow usage and audit events. Single usage events are in it with
    /// `include=usage_events`, line by line only.
    GET "/organizations/{org}/export" OrgExport => export;
}

sections! {
    one organization { Organization, "WHERE id = $1", order "id" }
    many memberships {
        MembershipRow as Membership = |row, _| row.into(),
        "WHERE memberships.organization_id = $1 AND memberships.scope <> 'group'",
        order "memberships.id"
    }
    many roles { Role, "WHERE organization_id = $1", order "code" }
    many invitations {
        InvitationRow as Invitation = |row, now| row.at(now),
        "WHERE invitations.organization_id = $1", order "invitations.id"
    }
    many identity_links { AuthAccount, "WHERE organization_id = $1", order "id" }
    many service_tokens { ServiceToken, "WHERE organization_id = $1", order "id" }
    tree groups {
        Group, members: GroupSeat,
        "groups LEFT JOIN memberships ON memberships.group_id = groups.id
                LEFT JOIN users ON users.id = memberships.user_id
                LEFT JOIN roles ON roles.id = memberships.role_id
         WHERE groups.organization_id = $1",
        order "groups.slug, groups.id, memberships.id"
    }
    tree projects {
        Project, groups: ProjectTeam,
        "projects LEFT JOIN project_grants ON project_grants.project_id = projects.id
                  LEFT JOIN roles ON roles.id = project_grants.role_id
         WHERE projects.organization_id = $1",
        order "projects.slug, project_grants.group_id"
    }
    many artifacts { Artifact, "WHERE organization_id = $1", order "id" }
    many workspaces { Workspace, "WHERE organization_id = $1", order "slug, id" }
    many subscriptions {
        Subscription, "WHERE subscriptions.organization_id = $1", order "subscriptions.id"
    }
    many deployments { Deployment, "WHERE organization_id = $1", order "id" }
    many licenses {
        LicenseRow as License = |row, now| row.at(now),
        "WHERE licenses.organization_id = $1", order "licenses.id"
    }
    many bundles { Bundle, "WHERE organization_id = $1", order "id" }
    one billing_account {
        BillingAccount, "WHERE subscriptions.organization_id = $1",
        order "CASE WHEN subscriptions.status IN ('canceled', 'expired') THEN 1 ELSE 0 END,
               subscriptions.id DESC LIMIT 1"
    }
    many identity_providers { IdentityProvider, "WHERE organization_id = $1", order "key" }
    all quotas { QuotaOfMetric, of "quotas", from quotas_of }
    all usage { UsageTotal, of "usage_series", from totals }
    many usage_events {
        UsageEvent, "WHERE organization_id = $1", during "observed_at", order "id",
        if with_usage_events
    }
    many usage_limits {
        Limit, "WHERE organization_id = $1",
        order "CASE WHEN project_id IS NULL THEN 0 ELSE 1 END, project_id, metric, unit,
               window_kind, period"
    }
    many usage_reports { UsageReport, "WHERE organization_id = $1", order "id" }
    many secret_refs { SecretRef, "WHERE organization_id = $1", order "name, id" }
    many audit_events {
        AuditEvent, "WHERE organization_id = $1", during "occurred_at", order "occurred_at, id"
    }
}

/// Tables of an organization that its export leaves out, and the reason of each.
pub const LEFT_OUT: &[(&str, &str)] = &[(
    "sessions",
    "a session is a person's login: it ends, and is no property of the organization",
)];

/// The tables that an export reads.
pub fn tables() -> impl Iterator<Item = &'static str> {
    SECTIONS
        .iter()
        .flat_map(|tables| tables.iter())
        .filter_map(|from| from.split_whitespace().next())
}

async fn quotas_of(tx: &mut Conn, asked: &Asked) -> Result<Vec<QuotaOfMetric>> {
    quotas::all(tx, asked.organization, asked.now).await
}

/// What usage of a metric came to, in the window.
#[derive(Debug, Serialize, JsonSchema)]
struct UsageTotal {
    metric: String,
    unit: String,
    quantity: Quantity,
    /// How many events that are.
    events: i64,
}

/// By metric and unit: read off the counters, however many events there are.
async fn totals(tx: &mut Conn, asked: &Asked) -> Result<Vec<UsageTotal>> {
    let Window { since, until, .. } = &asked.window;
    let interval = Interval { since: since.map(|at| at.0), until: until.map(|at| at.0) };
    let scope = Some(counters::Scope::of(asked.organization, None));
    let question = Question { scope, series: None, interval, grain: EVER, limit: i64::MAX };
    let parts = counters::ask(tx, asked.organization, question).await?;
    let told = |part: Part| UsageTotal {
        metric: part.metric,
        unit: part.unit,
        quantity: part.sum.quantity,
        events: part.sum.events,
    };
    Ok(parts.into_iter().map(told).collect())
}

/// A member of a group.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
struct GroupSeat {
    user_id: UserId,
    email: String,
    /// The role's code.
    role: String,
    status: MembershipStatus,
}

impl Kept for GroupSeat {
    const TABLE: &'static str = "memberships";
    const COLUMNS: &'static str =
        "memberships.user_id, users.email, roles.code AS role, memberships.status";
    const THERE: &'static str = "user_id";
}

/// A team that has a role on a project.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
struct ProjectTeam {
    group_id: GroupId,
    /// The role's code.
    role: String,
}

impl Kept for ProjectTeam {
    const TABLE: &'static str = "project_grants";
    const COLUMNS: &'static str = "project_grants.group_id, roles.code AS role";
    const THERE: &'static str = "group_id";
}

/// An export, as its table of sections tells it.
#[derive(Debug)]
pub struct Export;

/// The places of exports, which hold a state of the database for long.
pub struct Exports(Shares);

impl Default for Exports {
    fn default() -> Self {
        Self(Shares::new("exports", 4, 1))
    }
}

impl app::Part for Exports {}

/// Chunks that wait for a slow reader.
const AHEAD: usize = 4;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Usage and audit events at or after this instant.
    since: Option<Moment>,
    /// Usage and audit events at or before this instant.
    until: Option<Moment>,
    /// What is exported only on request, and line by line only.
    include: Option<Include>,
}

crate::text_enum! {
    Include {
        /// The single events behind the sums.
        UsageEvents = "usage_events",
    }
}

/// What is exported.
struct Asked {
    organization: OrganizationId,
    now: DateTime<Utc>,
    window: Window,
}

impl Asked {
    fn with_usage_events(&self) -> bool {
        self.window.include == Some(Include::UsageEvents)
    }

    /// Narrows rows by a column of instants.
    fn during<'c, R: Record>(&self, column: &'static str, rows: Rows<'c, R>) -> Rows<'c, R> {
        let Window { since, until, .. } = &self.window;
        let rows = match since {
            Some(since) => rows.sql(" AND ").sql(column).and(" >= ?", since.0),
            None => rows,
        };
        match until {
            Some(until) => rows.sql(" AND ").sql(column).and(" <= ?", until.0),
            None => rows,
        }
    }
}

async fn export(cx: &mut Cx, _: Org, window: Window) -> Result<StreamOf<Export>> {
    let form = Form::of(&cx.parts.headers);
    if window.include.is_some() && form == Form::Json {
        let detail = "include: usage events are exported line by line; send \
                      `Accept: application/x-ndjson`";
        return Err(Error::invalid("include", detail));
    }
    let place = <Exports as app::Part>::of(&cx.app).0.take(&cx.caller, Some(cx.org))?;
    cx.release();
    let mut tx = cx.app.db.snapshot().await?;
    // The first statement begins the state that is read; until then the organization may go.
    let found: Option<i32> =
        tx.q("SELECT 1 FROM organizations WHERE id = $1").bind(cx.org).value().await?;
    found.ok_or_else(|| Error::not_found("organization"))?;
    let asked = Asked { organization: cx.org, now: cx.now, window };
    let (chunks, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut out = Writer::new(form, chunks);
        let done = write(tx, &asked, &mut out).await;
        drop(place);
        if let Err(Broken::Failed(error)) = done {
            tracing::warn!(%error, organization = %asked.organization, "an export was not finished");
            out.fail().await;
        }
    });
    Ok(StreamOf::new(Streamed { media_type: form.media_type(), chunks: receiver }))
}
