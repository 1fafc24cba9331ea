//! Usage: events, each with the used quantity of a metric, and their sums.

mod event;
mod recording;
mod totals;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use cp_contracts::Problem;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use self::event::{NewUsageEvent, UsageEvent};
pub use self::recording::{Batch, Outcome};
use self::totals::{UsageTotal, totals};
use super::counters::{self, DAY, EVER, HOUR, Interval, Part, Question, Scopes};
use super::quantity::Quantity;
use crate::identity::scopes::{ScopeKind, ScopeRef};
use crate::kernel::access::admission;
use crate::kernel::access::ids::{DeploymentId, OrganizationId, ProjectId, UserId};
use crate::kernel::access::place::Org;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Answer, Output, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{self, Moment};
use crate::kernel::http::operation::Input;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::{Include, Section};
use crate::metering::ids::UsageEventId;
use crate::tenancy::ids::GroupId;

crate::permissions! {
    /// Read usage and its sums.
    USAGE_READ = "usage:read", implied by ["org:read"];
    /// Record usage.
    USAGE_WRITE = "usage:write", kept in suspension;
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "usage_events",
    "usage event",
    Export::Section(
        Section::many::<UsageEvent>("usage_events")
            .during("observed_at")
            .only_with(Include::UsageEvents),
    ),
)
.permissions(PERMISSIONS)
.before_project(|cx, project, _| Box::pin(leave_project(cx, project)));

/// The series in which events are summed.
pub static SERIES: Declaration = Declaration::of_organization(
    "usage_series",
    "usage series",
    Export::Section(crate::listed!("usage", UsageTotal, totals)),
)
.before_project(|cx, project, _| Box::pin(counters::leave_project(cx, project)));

crate::routes! {
    /// Events that report used quantities, and their sums.
    usage declares DECLARATION, SERIES:
    /// Lists the organization's usage events, newest first.
    GET "/organizations/{org}/usage" USAGE_READ => list;
    /// Records usage: one event, or an array of up to 1,000.
    ///
    /// An event may have an `idempotency_key`. When the deployment already used that key for the
    /// same content, the server records nothing and returns the recorded event with 200. Another
    /// content is refused with 409. With `mode: enforce` an event that would exceed a limit is
    /// refused with 429; with `observe` it is always recorded.
    ///
    /// The events of an array are recorded together. The answer has one item with a status per
    /// event. A refused event does not stop the others: 429, 404 for an unknown project or
    /// deployment, or 422 for an `observed_at` in the future. An array with a malformed event is
    /// refused as a whole. An array has at most 100 combinations of metric, unit and project, and
    /// at most 200 different hours of `observed_at`. Recordings leave no audit event.
    POST "/organizations/{org}/usage" USAGE_WRITE => record, own_transaction, unaudited;
    /// Sums usage by metric and unit, from `since` to `until`, both inclusive.
    GET "/organizations/{org}/usage/summary" USAGE_READ => summary as "usage.summarize";
    /// Returns a usage event.
    GET "/usage/{id}" USAGE_READ => read;
}

/// One event, or an array of events.
#[derive(Debug)]
pub enum OneOrMany {
    One(Box<NewUsageEvent>),
    Many(Vec<NewUsageEvent>),
}

impl Input for OneOrMany {
    /// One thousand events of one kilobyte.
    const BODY_LIMIT: usize = 1024 * 1024;

    fn from_query(_: Vec<(String, String)>, _: &str) -> Result<Self> {
        Err(Error::bad_request("The body must be a usage event or an array of them."))
    }
    fn from_body(body: &[u8]) -> Result<Self> {
        if body.trim_ascii_start().starts_with(b"[") {
            return json::read(body).map(Self::Many);
        }
        json::read(body).map(Box::new).map(Self::One)
    }
    fn schema(generator: &mut SchemaGenerator, _: bool) -> Schema {
        let one = generator.subschema_for::<NewUsageEvent>();
        json_schema!({
            "oneOf": [one, {"type": "array", "items": one, "maxItems": json::ITEMS}],
        })
    }
}

/// The outcomes of the events of an array, in the array's order.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecordedUsage {
    recorded: usize,
    /// The number of events that an earlier request recorded.
    replayed: usize,
    refused: usize,
    items: Vec<RecordedItem>,
}

/// The outcome of one event of an array.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecordedItem {
    /// 201 for recorded, 200 for recorded before; otherwise the status of the problem.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<UsageEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// The answer to a recording.
pub enum Recorded {
    One(Box<Put<UsageEvent>>),
    Many(RecordedUsage),
}

impl Output for Recorded {
    const STATUS: StatusCode = StatusCode::CREATED;
    const ALSO: Option<StatusCode> = Some(StatusCode::OK);
    const MAKES: bool = true;

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        let one = generator.subschema_for::<UsageEvent>();
        let many = generator.subschema_for::<RecordedUsage>();
        Some(json_schema!({"oneOf": [one, many]}))
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        match self {
            Self::One(event) => (*event).answer(is_audited),
            Self::Many(many) => {
                let body = serde_json::to_vec(&many).map_err(Error::internal)?;
                Ok(Answer {
                    status: StatusCode::OK,
                    location: None,
                    body: Some(body.into()),
                    tag: None,
                    made: None,
                    after: None,
                    stream: None,
                })
            }
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageFilter {
    /// Only events of this metric.
    metric: Option<String>,
    /// Only events in this unit.
    unit: Option<String>,
    /// Only events of this project.
    project: Option<ProjectId>,
    /// Only events of this deployment.
    deployment: Option<DeploymentId>,
    /// Only events of this product.
    product: Option<String>,
    /// Only events of this group itself, without the groups below it.
    group: Option<GroupId>,
    /// Only events of this person.
    user: Option<UserId>,
    /// Only events with this `run_id`.
    run: Option<String>,
    /// Observed at this instant or later.
    since: Option<Moment>,
    /// Observed at this instant or before.
    until: Option<Moment>,
}

crate::text_enum! {
    /// The property by which a summary splits its sums, besides metric and unit.
    GroupBy { Metric = "metric", Project = "project", Day = "day", Hour = "hour" }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SummaryFilter {
    /// The first instant of the sum. Without a beginning when absent.
    since: Option<Moment>,
    /// The last instant of the sum, inclusive. Without an end when absent.
    until: Option<Moment>,
    /// Only usage of this project.
    project: Option<ProjectId>,
    /// `metric` when absent; `day` and `hour` are UTC.
    group_by: Option<GroupBy>,
}

/// The sums of usage.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UsageSummary {
    organization_id: OrganizationId,
    project_id: Option<ProjectId>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    /// The sums, sorted by metric and unit.
    items: Vec<SummaryItem>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SummaryItem {
    metric: String,
    unit: String,
    quantity: Quantity,
    /// The number of events in the sum.
    events: i64,
    /// With `group_by=project`: null for usage outside of projects.
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<Option<ProjectId>>,
    /// With `group_by=day` or `hour`: the first instant of that day or hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<DateTime<Utc>>,
}

/// The maximum number of items of a summary.
const MOST_ITEMS: usize = 10_000;

async fn list(cx: &mut Cx, _: Org, list: List<UsageFilter>) -> Result<Page<UsageEvent>> {
    let filter = &list.filter;
    let query = cx
        .tx
        .select("WHERE organization_id = $1")
        .bind(cx.at)
        .and_some(" AND metric = ?", filter.metric.as_deref())
        .and_some(" AND unit = ?", filter.unit.as_deref())
        .and_some(" AND project_id = ?", filter.project)
        .and_some(" AND deployment_id = ?", filter.deployment)
        .and_some(" AND product = ?", filter.product.as_deref())
        .and_some(" AND group_id = ?", filter.group)
        .and_some(" AND user_id = ?", filter.user)
        .and_some(" AND run_id = ?", filter.run.as_deref())
        .and_some(" AND observed_at >= ?", filter.since.map(|since| since.0))
        .and_some(" AND observed_at <= ?", filter.until.map(|until| until.0));
    list.page(query).await
}

async fn read(cx: &mut Cx, id: UsageEventId) -> Result<UsageEvent> {
    Ok(cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at).one().await?)
}

async fn record(cx: &mut Cx, _: Org, events: OneOrMany) -> Result<Recorded> {
    // The transaction begins after this work: a thousand events take a while, and SQLite has one
    // writer.
    let (events, is_one) = match events {
        OneOrMany::One(event) => (vec![*event], true),
        OneOrMany::Many(events) => (events, false),
    };
    let batch = Batch::new(cx, events)?;
    batch.refuse_scattered()?;
    admission::charge_content(
        &cx.app,
        &cx.caller,
        &cx.parts,
        cx.at,
        batch.count().saturating_sub(1),
    )
    .await?;
    cx.release();
    cx.begin().await?;
    let mut outcomes = batch.record(cx).await?;
    if is_one {
        let outcome = outcomes.pop();
        return match outcome.ok_or_else(|| Error::internal(anyhow::anyhow!("no outcome")))? {
            Outcome::New(event) => Ok(Recorded::One(Put::New(event).into())),
            Outcome::Known(event) => Ok(Recorded::One(Put::Known(event).into())),
            Outcome::Refused(problem) => Err(problem),
        };
    }
    let count = |status| outcomes.iter().filter(|o| o.status() == status).count();
    let (recorded, replayed) = (count(201), count(200));
    let refused = outcomes.len() - recorded - replayed;
    let base_path = cx.app.settings.base_path();
    let items = outcomes.into_iter().map(|outcome| RecordedItem::of(outcome, base_path)).collect();
    Ok(Recorded::Many(RecordedUsage { recorded, replayed, refused, items }))
}

impl RecordedItem {
    fn of(outcome: Outcome, base_path: &str) -> Self {
        let status = outcome.status();
        match outcome {
            Outcome::New(event) | Outcome::Known(event) => {
                Self { status, event: Some(event), problem: None }
            }
            Outcome::Refused(error) => {
                Self { status, event: None, problem: Some(error.document_below(base_path)) }
            }
        }
    }
}

async fn summary(cx: &mut Cx, _: Org, filter: SummaryFilter) -> Result<UsageSummary> {
    let interval = Interval {
        since: filter.since.map(|since| since.0),
        until: filter.until.map(|until| until.0),
    };
    summarize(cx, interval, filter.project, filter.group_by.unwrap_or(GroupBy::Metric)).await
}

/// Returns the sums of usage in an interval.
pub async fn summarize(
    cx: &mut Cx,
    interval: Interval,
    project: Option<ProjectId>,
    group_by: GroupBy,
) -> Result<UsageSummary> {
    let grain = match group_by {
        GroupBy::Metric | GroupBy::Project => EVER,
        GroupBy::Day => DAY,
        GroupBy::Hour => HOUR,
    };
    let every_scope = group_by == GroupBy::Project && project.is_none();
    let scopes = match every_scope {
        true => Scopes::Projects,
        false => Scopes::One(ScopeRef::project_or(project, cx.at)),
    };
    let limit = MOST_ITEMS as i64 + 1;
    let question = Question { scopes, series: None, interval, grain, limit };
    let parts = counters::ask(&mut cx.tx, cx.at, question).await?;
    if parts.len() > MOST_ITEMS {
        let detail =
            format!("`since` to `until` has more than {MOST_ITEMS} sums. Request a shorter time.");
        return Err(Error::invalid("since", detail));
    }
    let parts = if every_scope { outside_of_projects(parts) } else { parts };
    let items = parts.into_iter().map(|part| SummaryItem {
        project_id: (group_by == GroupBy::Project).then(|| project_of(&part)),
        metric: part.metric,
        unit: part.unit,
        quantity: part.sum.quantity,
        events: part.sum.events,
        starts_at: DateTime::from_timestamp_micros(part.starts_at).filter(|_| grain != EVER),
    });
    let (since, until) = (interval.since, interval.until);
    let (organization_id, items) = (cx.at, items.collect());
    Ok(UsageSummary { organization_id, project_id: project, since, until, items })
}

/// Subtracts the usage of projects from the usage of the whole organization.
fn outside_of_projects(parts: Vec<Part>) -> Vec<Part> {
    let mut reported = Vec::new();
    for series in parts.chunk_by(|a, b| (&a.metric, &a.unit) == (&b.metric, &b.unit)) {
        let (projects, whole): (Vec<_>, Vec<_>) =
            series.iter().cloned().partition(|part| project_of(part).is_some());
        let rest = whole.into_iter().map(|part| {
            let sum = part.sum.without(projects.iter().map(|project| &project.sum));
            Part { sum, ..part }
        });
        reported.extend(rest.filter(|part| part.sum.events > 0));
        reported.extend(projects);
    }
    reported
}

fn project_of(part: &Part) -> Option<ProjectId> {
    part.scope.id_of(ScopeKind::Project).map(ProjectId)
}

/// Detaches the usage of a project that is deleted or moved. The usage stays with the organization,
/// and its `dims` name the project.
async fn leave_project(cx: &mut Cx, project: ProjectId) -> Result<()> {
    let forget = cx.tx.q2(
        "UPDATE usage_events SET project_id = NULL,
                dims = json_set(dims, '$.project_id', $3)
         WHERE project_id = $1 AND organization_id = $2",
        "UPDATE usage_events SET project_id = NULL,
                dims = jsonb_set(dims, '{project_id}', to_jsonb($3))
         WHERE project_id = $1 AND organization_id = $2",
    );
    forget.bind(project).bind(cx.at).bind(project.to_string()).exec().await?;
    Ok(())
}
