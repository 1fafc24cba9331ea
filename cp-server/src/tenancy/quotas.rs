//! Quotas: how much an organization may have of each metric, copied from its plan.
//!
//! # Design
//! Projects and members are counted from their rows, in the statement that makes one more, so that
//! no counter can drift. Before it, [`hold`] takes the row of the quota until the end of the
//! transaction: on PostgreSQL two statements that count at the same time would both find room.
//! A gauge, such as the storage, is held here and moved by one conditional statement.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Months, NaiveTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::OrganizationId;
use crate::kernel::json::Between;
use crate::kernel::place::Org;
use crate::kernel::record::Quantities;

crate::routes! { quotas:
    /// Tells every quota of the organization and how much of it is used.
    GET "/organizations/{org}/quotas" OrgRead => list;
    /// Tells whether so much more would fit; exactly full still fits.
    GET "/organizations/{org}/quotas/{metric}/check" OrgRead => check;
    /// Moves a gauge by a difference; it never falls below 0.
    ///
    /// Above the limit it is refused, unless `mode` is `observe`. What is counted from rows
    /// (projects, members) cannot be adjusted.
    POST "/organizations/{org}/quotas/{metric}/adjust" QuotasWrite => adjust;
}

crate::text_enum! {
    /// What a quota is of.
    Metric {
        Projects = "projects",
        ConcurrentRuns = "concurrent_runs",
        RunsPerMonth = "runs_per_month",
        ApiCallsPerMonth = "api_calls_per_month",
        StorageBytes = "storage_bytes",
        Members = "members",
        ArtifactsPerRun = "artifacts_per_run",
        ComputeMinutesPerMonth = "compute_minutes_per_month",
        ArtifactRetentionDays = "artifact_retention_days",
        RequestsPerMinute = "requests_per_minute",
    }
}

/// How a metric's use is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// From the rows of the things themselves.
    Counted,
    /// Held until it is given back.
    Gauge,
    /// Held until the month (UTC) is over.
    Monthly,
    /// A bound of each single thing: nothing is used up.
    Bound,
}

impl Metric {
    fn kind(self) -> Kind {
        match self {
            Self::Projects | Self::Members => Kind::Counted,
            Self::ConcurrentRuns | Self::StorageBytes => Kind::Gauge,
            Self::RunsPerMonth | Self::ApiCallsPerMonth | Self::ComputeMinutesPerMonth => {
                Kind::Monthly
            }
            Self::ArtifactsPerRun | Self::ArtifactRetentionDays | Self::RequestsPerMinute => {
                Kind::Bound
            }
        }
    }

    /// What an organization has of a metric that its plan does not tell: a missing limit is not
    /// an unlimited one.
    pub fn least(self) -> i64 {
        match self {
            Self::Projects | Self::Members => 3,
            Self::ConcurrentRuns => 1,
            Self::RunsPerMonth => 100,
            Self::ApiCallsPerMonth => 1000,
            Self::StorageBytes => 5 << 30,
            Self::ArtifactsPerRun | Self::RequestsPerMinute => 10,
            Self::ComputeMinutesPerMonth => 60,
            Self::ArtifactRetentionDays => 7,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Projects => "project",
            Self::ConcurrentRuns => "concurrent run",
            Self::RunsPerMonth => "monthly run",
            Self::ApiCallsPerMonth => "monthly API call",
            Self::StorageBytes => "storage",
            Self::Members => "member",
            Self::ArtifactsPerRun => "artifact",
            Self::ComputeMinutesPerMonth => "monthly compute",
            Self::ArtifactRetentionDays => "artifact retention",
            Self::RequestsPerMinute => "request",
        }
    }
}

crate::text_enum! {
    /// Whether going above the limit is refused or only noted.
    Mode { Enforce = "enforce", Observe = "observe" }
}

/// The quotas of an organization, by metric.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Quotas {
    organization_id: OrganizationId,
    quotas: BTreeMap<&'static str, Quota>,
}

/// How much there may be, and how much there is.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Quota {
    /// Null is unlimited.
    pub limit: Option<i64>,
    pub used: i64,
    /// Null is unlimited.
    pub remaining: Option<i64>,
    pub full: bool,
}

/// The quota of one metric.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QuotaOfMetric {
    organization_id: OrganizationId,
    metric: Metric,
    #[serde(flatten)]
    quota: Quota,
}

/// Whether an amount would fit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Check {
    allowed: bool,
    requested: i64,
    #[serde(flatten)]
    of: QuotaOfMetric,
}

/// More than anything is counted in: sums of two stay within 64 bits.
const MOST: i64 = 1 << 53;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// 1 when absent.
    #[serde(default = "one")]
    amount: Between<0, MOST>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    delta: Between<{ -MOST }, MOST>,
    /// `enforce` when absent.
    mode: Option<Mode>,
}

fn one() -> Between<0, MOST> {
    Between(1)
}

async fn list(cx: &mut Cx, _: Org) -> Result<Quotas> {
    let found = rows(cx, cx.org, None).await?;
    let quotas = found.into_iter().map(|row| (row.metric.as_str(), row.quota())).collect();
    Ok(Quotas { organization_id: cx.org, quotas })
}

async fn check(cx: &mut Cx, (_, metric): (Org, String), asked: Asked) -> Result<Check> {
    let metric = parse(&metric)?;
    let quota = of(cx, cx.org, metric).await?;
    let requested = asked.amount.0;
    let allowed = quota.limit.is_none_or(|limit| quota.used.saturating_add(requested) <= limit);
    let of = QuotaOfMetric { organization_id: cx.org, metric, quota };
    Ok(Check { allowed, requested, of })
}

async fn adjust(
    cx: &mut Cx,
    (_, metric): (Org, String),
    adjustment: Adjustment,
) -> Result<QuotaOfMetric> {
    let metric = parse(&metric)?;
    if !matches!(metric.kind(), Kind::Gauge | Kind::Monthly) {
        let detail = match metric.kind() {
            Kind::Counted => format!("{metric} are counted: make or delete one instead."),
            _ => format!("{metric} bounds each single thing: nothing of it is held."),
        };
        return Err(Error::new(ProblemCode::QuotaIsCounted, detail).with("metric", metric.as_str()));
    }
    let mode = adjustment.mode.unwrap_or(Mode::Enforce);
    shift(cx, cx.org, metric, adjustment.delta.0, mode).await?;
    let quota = of(cx, cx.org, metric).await?;
    Ok(QuotaOfMetric { organization_id: cx.org, metric, quota })
}

fn parse(metric: &str) -> Result<Metric> {
    metric.parse().map_err(|_| Error::not_found("quota"))
}

/// Moves a gauge; refused when that is above the limit and `mode` enforces it.
pub async fn shift<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    metric: Metric,
    delta: i64,
    mode: Mode,
) -> Result<()> {
    let (month, monthly) = (month_of(cx.now), metric.kind() == Kind::Monthly);
    // What was held of a month before is over with it.
    let sql = "UPDATE quotas
               SET held = CASE WHEN $4 AND held_since < $5 THEN CASE WHEN $3 < 0 THEN 0 ELSE $3 END
                               WHEN held + $3 < 0 THEN 0
                               WHEN held + $3 > $7 THEN $7
                               ELSE held + $3 END,
                   held_since = $5
               WHERE organization_id = $1 AND metric = $2
                 AND ($3 <= 0 OR $6 OR quantity IS NULL
                      OR CASE WHEN $4 AND held_since < $5 THEN 0 ELSE held END + $3 <= quantity)";
    let update = cx
        .tx
        .q(sql)
        .bind(organization)
        .bind(metric)
        .bind(delta)
        .bind(monthly)
        .bind(month)
        .bind(mode == Mode::Observe)
        .bind(MOST);
    match update.exec().await? {
        0 => Err(exceeded(cx, organization, metric, delta).await),
        _ => Ok(()),
    }
}

/// Keeps others from counting the metric until the end of the transaction.
pub async fn hold<G>(cx: &mut Cx<G>, organization: OrganizationId, metric: Metric) -> Result<()> {
    let held = cx.tx.q2(
        "SELECT 1 FROM quotas WHERE organization_id = $1 AND metric = $2",
        "SELECT 1 FROM quotas WHERE organization_id = $1 AND metric = $2 FOR UPDATE",
    );
    held.bind(organization).bind(metric).value::<i32>().await?;
    Ok(())
}

/// The refusal of something for which there was no room.
pub async fn exceeded<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    metric: Metric,
    requested: i64,
) -> Error {
    let quota = match of(cx, organization, metric).await {
        Ok(quota) => quota,
        Err(error) => return error,
    };
    let resets_at = (metric.kind() == Kind::Monthly).then(|| month_of(cx.now) + Months::new(1));
    refusal(organization, metric, quota, requested).with("resets_at", resets_at)
}

/// A refusal in words and numbers.
pub fn refusal(
    organization: OrganizationId,
    metric: Metric,
    quota: Quota,
    requested: i64,
) -> Error {
    let (noun, limit, used) = (metric.noun(), quota.limit, quota.used);
    let most = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let detail =
        format!("{noun} quota exceeded: {used} of {most} in use, and {requested} more asked for.");
    Error::new(ProblemCode::QuotaExceeded, detail)
        .with("metric", metric.as_str())
        .with("organization_id", organization.to_string())
        .with("limit", limit)
        .with("used", used)
        .with("requested", requested)
}

/// One quota and its use.
pub async fn of<G>(cx: &mut Cx<G>, organization: OrganizationId, metric: Metric) -> Result<Quota> {
    let found = rows(cx, organization, Some(metric)).await?;
    let row = found.into_iter().next().ok_or_else(|| Error::not_found("quota"))?;
    Ok(row.quota())
}

#[derive(sqlx::FromRow)]
struct Row {
    metric: Metric,
    quantity: Option<i64>,
    used: i64,
}

impl Row {
    fn quota(&self) -> Quota {
        let (limit, used) = (self.quantity, self.used);
        let remaining = limit.map(|limit| (limit - used).max(0));
        Quota { limit, used, remaining, full: remaining == Some(0) }
    }
}

async fn rows<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    metric: Option<Metric>,
) -> Result<Vec<Row>> {
    let sql = "SELECT metric, quantity,
                      CASE WHEN metric = 'projects' THEN
                               (SELECT COUNT(*) FROM projects p WHERE p.organization_id = $1)
                           WHEN metric = 'members' THEN
                               (SELECT COUNT(*) FROM memberships m
                                WHERE m.organization_id = $1 AND m.scope = 'organization')
                           WHEN metric LIKE '%_per_month' AND held_since < $2 THEN 0
                           ELSE held END AS used
               FROM quotas WHERE organization_id = $1";
    let (month, query) = (month_of(cx.now), cx.tx.q(sql));
    Ok(query.bind(organization).bind(month).and_some(" AND metric = ?", metric).all().await?)
}

/// Gives the organization what its plan tells, and keeps what it holds.
pub async fn grant<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    limits: &Quantities,
) -> Result<()> {
    let quantity = |metric: &Metric| match limits.get(metric.as_str()) {
        Some(told) => *told,
        None => Some(metric.least()),
    };
    let since = month_of(cx.now);
    let sql = "INSERT INTO quotas (organization_id, metric, quantity, held, held_since) VALUES ";
    let insert = cx.tx.q(sql).rows(Metric::ALL, |query, metric| {
        query.bind(organization).bind(*metric).bind(quantity(metric)).bind(0_i64).bind(since)
    });
    let insert = insert
        .sql(" ON CONFLICT (organization_id, metric) DO UPDATE SET quantity = excluded.quantity");
    insert.exec().await?;
    Ok(())
}

/// Metrics that came with a later version of the server, for the organizations before it.
pub async fn seed(app: &App) -> Result<()> {
    let mut tx = app.db.begin().await?;
    for metric in Metric::ALL {
        let sql = "INSERT INTO quotas (organization_id, metric, quantity, held, held_since)
                   SELECT o.id, $1, $2, 0, $3 FROM organizations o
                   WHERE NOT EXISTS (SELECT 1 FROM quotas q
                                     WHERE q.organization_id = o.id AND q.metric = $1)
                   ON CONFLICT DO NOTHING";
        let since = month_of(app.clock.now());
        tx.q(sql).bind(*metric).bind(metric.least()).bind(since).exec().await?;
    }
    tx.commit().await?;
    Ok(())
}

pub async fn purge(cx: &mut Cx) -> Result<()> {
    cx.tx.q("DELETE FROM quotas WHERE organization_id = $1").bind(cx.org).exec().await?;
    Ok(())
}

/// The beginning of the month, in UTC.
fn month_of(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = now.date_naive().with_day(1).unwrap_or(now.date_naive());
    first.and_time(NaiveTime::MIN).and_utc()
}
