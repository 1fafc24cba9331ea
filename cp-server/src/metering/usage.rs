//! Usage: events that tell how much of a metric was used, and what they add up to.

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
use super::counters::{self, DAY, EVER, HOUR, Interval, Part, Question, Scope};
use super::quantity::Quantity;
use crate::kernel::access::admission;
use crate::kernel::access::ids::{DeploymentId, OrganizationId, ProjectId};
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

/// The series that events are summed in.
pub static SERIES: Declaration = Declaration::of_organization(
    "usage_series",
    "usage series",
    Export::Section(crate::listed!("usage", UsageTotal, totals)),
)
.before_project(|cx, project, _| Box::pin(counters::leave_project(cx, project)));

crate::routes! { usage declares DECLARATION, SERIES:
    /// Lists the organization's usage events, newest first.
    GET "/organizations/{org}/usage" USAGE_READ => list;
    /// Records usage: one event, or an array of up to 1,000.
    ///
    /// An event whose `idempotency_key` was recorded before, of the same deployment and with the same
    /// content, is not recorded again: 200 with the event of then. Another content is refused: 409. With `mode: enforce` one that would go beyond a limit is refused, 429; with
    /// `observe` it is recorded in any case. Events of an array are recorded together and answered
    /// one by one, each with a status: what is refused (429, 404 for an unknown project, or 422 for an
    /// `observed_at` in the future) stops none of the others. An array with an event that is not well-formed is refused as a whole.
    /// An array has at most 100 combinations of metric, unit and project, and 200 different hours of
    /// `observed_at`. Recording leaves no audit event.
    POST "/organizations/{org}/usage" USAGE_WRITE => record, own_transaction, unaudited;
    /// Adds up usage by metric and unit, from `since` to `until`, both included.
    GET "/organizations/{org}/usage/summary" USAGE_READ => summary as "usage.summarize";
    /// Reads a usage event.
    GET "/usage/{id}" USAGE_READ => read;
}

/// One event, or many.
#[derive(Debug)]
pub enum OneOrMany {
    One(Box<NewUsageEvent>),
    Many(Vec<NewUsageEvent>),
}

impl Input for OneOrMany {
    /// A thousand events of a kilobyte.
    const BODY_LIMIT: usize = 1024 * 1024;

    fn from_query(_: Vec<(String, String)>) -> Result<Self> {
        Err(Error::bad_request("Usage is recorded with a body."))
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

/// What became of the events of an array, in its order.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecordedUsage {
    recorded: usize,
    /// Recorded by an earlier request.
    replayed: usize,
    refused: usize,
    items: Vec<RecordedItem>,
}

/// What became of one event of an array.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecordedItem {
    /// 201 recorded, 200 recorded before; else that of the problem.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<UsageEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// What a recording answers.
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
    fn answer(self) -> Result<Answer> {
        match self {
            Self::One(event) => (*event).answer(),
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
    metric: Option<String>,
    unit: Option<String>,
    project: Option<ProjectId>,
    deployment: Option<DeploymentId>,
    run: Option<String>,
    /// Observed at this instant or later.
    since: Option<Moment>,
    /// Observed at this instant or before.
    until: Option<Moment>,
}

crate::text_enum! {
    /// What a summary tells apart, besides metric and unit.
    GroupBy { Metric = "metric", Project = "project", Day = "day", Hour = "hour" }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SummaryFilter {
    /// From this instant on; from the beginning when absent.
    since: Option<Moment>,
    /// Up to this instant, included; without an end when absent.
    until: Option<Moment>,
    /// This project's usage only.
    project: Option<ProjectId>,
    /// `metric` when absent; `day` and `hour` are UTC.
    group_by: Option<GroupBy>,
}

/// What usage came to.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UsageSummary {
    organization_id: OrganizationId,
    project_id: Option<ProjectId>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    /// By metric and unit.
    items: Vec<SummaryItem>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SummaryItem {
    metric: String,
    unit: String,
    quantity: Quantity,
    /// How many events that are.
    events: i64,
    /// With `group_by=project`: null for usage outside of projects.
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<Option<ProjectId>>,
    /// With `group_by=day` or `hour`: the first instant of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<DateTime<Utc>>,
}

/// Items of a summary, at most.
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
        .and_some(" AND run_id = ?", filter.run.as_deref())
        .and_some(" AND observed_at >= ?", filter.since.map(|since| since.0))
        .and_some(" AND observed_at <= ?", filter.until.map(|until| until.0));
    list.page(query).await
}

async fn read(cx: &mut Cx, id: UsageEventId) -> Result<UsageEvent> {
    Ok(cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at).one().await?)
}

async fn record(cx: &mut Cx, _: Org, events: OneOrMany) -> Result<Recorded> {
    // Only then is the transaction begun: a thousand events take a while, and SQLite has one writer.
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
    let items = outcomes.into_iter().map(RecordedItem::from).collect();
    Ok(Recorded::Many(RecordedUsage { recorded, replayed, refused, items }))
}

impl From<Outcome> for RecordedItem {
    fn from(outcome: Outcome) -> Self {
        let status = outcome.status();
        match outcome {
            Outcome::New(event) | Outcome::Known(event) => {
                Self { status, event: Some(event), problem: None }
            }
            Outcome::Refused(error) => {
                Self { status, event: None, problem: Some(error.document()) }
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

/// What usage came to in an interval.
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
    let scope = Some(Scope::of(cx.at, project)).filter(|_| !every_scope);
    let limit = MOST_ITEMS as i64 + 1;
    let question = Question { scope, series: None, interval, grain, limit };
    let parts = counters::ask(&mut cx.tx, cx.at, question).await?;
    if parts.len() > MOST_ITEMS {
        let detail = format!("since: more than {MOST_ITEMS} items; ask for a shorter time");
        return Err(Error::invalid("since", detail));
    }
    let parts = if every_scope { outside_of_projects(parts) } else { parts };
    let items = parts.into_iter().map(|part| SummaryItem {
        metric: part.metric,
        unit: part.unit,
        quantity: part.sum.quantity,
        events: part.sum.events,
        project_id: (group_by == GroupBy::Project).then_some(part.project),
        starts_at: DateTime::from_timestamp_micros(part.starts_at).filter(|_| grain != EVER),
    });
    let (since, until) = (interval.since, interval.until);
    let (organization_id, items) = (cx.at, items.collect());
    Ok(UsageSummary { organization_id, project_id: project, since, until, items })
}

/// Turns what the organization came to into what is left of it without its projects.
fn outside_of_projects(parts: Vec<Part>) -> Vec<Part> {
    let mut told = Vec::new();
    for series in parts.chunk_by(|a, b| (&a.metric, &a.unit) == (&b.metric, &b.unit)) {
        let (projects, whole): (Vec<_>, Vec<_>) =
            series.iter().cloned().partition(|part| part.project.is_some());
        let rest = whole.into_iter().map(|part| {
            let sum = part.sum.without(projects.iter().map(|project| &project.sum));
            Part { sum, ..part }
        });
        told.extend(rest.filter(|part| part.sum.events > 0));
        told.extend(projects);
    }
    told
}

/// A project ends, or moves away: its usage stays where it was used, and tells of it in `dims`.
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
