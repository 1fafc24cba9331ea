//! Quotas: the limit and use of each metric of an organization.
//!
//! # Design
//! A limit is copied from the plan. This server does not limit a metric that the plan leaves out,
//! and the license token does not include it. So neither side works with a number outside the
//! contract. `members` follows the subscription's seats if the plan leaves it out. The vendor may
//! override a limit for one organization; `from` names the source of the limit.
//!
//! Projects and members are counted from their rows, in the statement that creates one more, so
//! that no counter can drift. Before that statement, [`hold`] locks the quota's row until the end
//! of the transaction. On PostgreSQL, two statements that count at the same time would otherwise
//! both find room. A gauge, such as the storage, is a column here, which one conditional statement
//! changes.

mod grants;
pub mod metrics;

use std::collections::BTreeMap;

use chrono::{DateTime, Months, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::grants::month_of;
pub use self::grants::{QuotaSource, grant, seed};
pub use self::metrics::Metric;
use self::metrics::{Bound, Kind};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Org;
use crate::kernel::db::Conn;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::NoContent;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::section::ExportRequest;

crate::permissions! {
    /// Adjust the gauges of quotas.
    QUOTAS_WRITE = "quotas:write";
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "quotas",
    "quota",
    Export::Section(crate::listed!("quotas", QuotaOfMetric, exported)),
)
.permissions(PERMISSIONS);

crate::routes! {
    /// How much of each metric an organization may use, and how much it uses.
    quotas declares DECLARATION:
    /// Lists the organization's quotas, with the use and the source of each limit.
    GET "/organizations/{org}/quotas" ORG_READ => list;
    /// Checks whether an amount would fit; an exactly full quota still fits.
    GET "/organizations/{org}/quotas/{metric}/check" ORG_READ => check;
    /// Changes a gauge by a difference; it never falls below 0.
    ///
    /// A change above the limit is refused, unless `mode` is `observe`. Metrics that are counted
    /// from rows (projects, members) cannot be adjusted.
    POST "/organizations/{org}/quotas/{metric}/adjust" QUOTAS_WRITE => adjust, harmless;
    /// Overrides the limit of a metric for this organization, whatever its plan says.
    PUT "/organizations/{org}/quotas/{metric}" SUBSCRIPTIONS_WRITE => put;
    /// Removes an override, so that the plan decides again.
    DELETE "/organizations/{org}/quotas/{metric}" SUBSCRIPTIONS_WRITE => delete;
}

crate::text_enum! {
    /// Whether a change above the limit is refused or only recorded.
    Mode { Enforce = "enforce", Observe = "observe" }
}

/// The quotas of an organization, by metric.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Quotas {
    organization_id: OrganizationId,
    quotas: BTreeMap<&'static str, Quota>,
}

/// The limit and use of a metric.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Quota {
    /// Null is unlimited.
    pub limit: Option<i64>,
    pub used: i64,
    /// Null is unlimited.
    pub remaining: Option<i64>,
    pub full: bool,
    pub from: QuotaSource,
}

/// The quota of one metric.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QuotaOfMetric {
    organization_id: OrganizationId,
    metric: Metric,
    #[serde(flatten)]
    quota: Quota,
}

/// Whether an amount fits.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Check {
    allowed: bool,
    requested: i64,
    #[serde(flatten)]
    of: QuotaOfMetric,
}

/// Larger than every real quantity; the sum of two still fits into 64 bits.
const MOST: i64 = 1 << 53;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaQuestion {
    /// The amount to check, in the unit of the metric; 1 when absent.
    #[serde(default = "one")]
    amount: Between<0, MOST>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// The difference, in the unit of the metric. A negative one reduces the use, at most to 0.
    delta: Between<{ -MOST }, MOST>,
    /// `enforce` refuses a change above the limit; `observe` records it. `enforce` when absent.
    mode: Option<Mode>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The limit, a whole number of at least 0; `"unlimited"`, `null` and `-1` mean no limit.
    quantity: Bound,
}

fn one() -> Between<0, MOST> {
    Between(1)
}

async fn list(cx: &mut Cx, _: Org) -> Result<Quotas> {
    let found = rows(&mut cx.tx, cx.at, None, cx.now).await?;
    let quotas = found.into_iter().map(|row| (row.metric.as_str(), row.quota())).collect();
    Ok(Quotas { organization_id: cx.at, quotas })
}

async fn check(cx: &mut Cx, (_, metric): (Org, String), asked: QuotaQuestion) -> Result<Check> {
    let metric = parse(&metric)?;
    let quota = of(cx, cx.at, metric).await?;
    let requested = asked.amount.0;
    let allowed = quota.limit.is_none_or(|limit| quota.used.saturating_add(requested) <= limit);
    let of = QuotaOfMetric { organization_id: cx.at, metric, quota };
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
            Kind::Counted => {
                format!("The use of {metric} is counted. Create or delete a resource instead.")
            }
            _ => format!("{metric} limits each single resource, so its use cannot be adjusted."),
        };
        return Err(Error::new(ProblemCode::QuotaIsCounted, detail).with("metric", metric.as_str()));
    }
    let mode = adjustment.mode.unwrap_or(Mode::Enforce);
    shift(cx, cx.at, metric, adjustment.delta.0, mode).await?;
    let quota = of(cx, cx.at, metric).await?;
    Ok(QuotaOfMetric { organization_id: cx.at, metric, quota })
}

async fn put(cx: &mut Cx, (_, metric): (Org, String), new: Override) -> Result<QuotaOfMetric> {
    let metric = parse(&metric)?;
    let sql = "UPDATE quotas SET quantity = $3, source = 'override'
               WHERE organization_id = $1 AND metric = $2";
    change(cx, metric, sql, Some(new.quantity)).await?;
    let quota = of(cx, cx.at, metric).await?;
    Ok(QuotaOfMetric { organization_id: cx.at, metric, quota })
}

async fn delete(cx: &mut Cx, (_, metric): (Org, String)) -> Result<NoContent> {
    let sql = "UPDATE quotas SET quantity = granted, source = granted_from
               WHERE organization_id = $1 AND metric = $2";
    change(cx, parse(&metric)?, sql, None).await?;
    Ok(NoContent)
}

/// Changes the limit of a metric, with the old quota in the audit event.
async fn change(
    cx: &mut Cx,
    metric: Metric,
    sql: &'static str,
    quantity: Option<Bound>,
) -> Result<()> {
    hold(cx, cx.at, metric).await?;
    let quota = of(cx, cx.at, metric).await?;
    let before = QuotaOfMetric { organization_id: cx.at, metric, quota };
    cx.audit.before = serde_json::to_value(before).ok();
    let update = cx.tx.q(sql).bind(cx.at).bind(metric);
    let update = match quantity {
        Some(Bound(quantity)) => update.bind(quantity),
        None => update,
    };
    update.exec().await?;
    Ok(())
}

fn parse(metric: &str) -> Result<Metric> {
    metric.parse().map_err(|_| Error::not_found("quota"))
}

/// Changes a gauge. A change above the limit is refused if `mode` enforces it.
pub async fn shift<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    metric: Metric,
    delta: i64,
    mode: Mode,
) -> Result<()> {
    let (month, monthly) = (month_of(cx.now), metric.kind() == Kind::Monthly);
    // The use of an earlier month does not count.
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

/// Locks the metric against concurrent counts until the end of the transaction.
pub async fn hold<G>(cx: &mut Cx<G>, organization: OrganizationId, metric: Metric) -> Result<()> {
    let held = cx.tx.q2(
        "SELECT 1 FROM quotas WHERE organization_id = $1 AND metric = $2",
        "SELECT 1 FROM quotas WHERE organization_id = $1 AND metric = $2 FOR UPDATE",
    );
    held.bind(organization).bind(metric).value::<i32>().await?;
    Ok(())
}

/// Returns the refusal of a request beyond the quota.
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

/// Returns the refusal, with its numbers.
pub fn refusal(
    organization: OrganizationId,
    metric: Metric,
    quota: Quota,
    requested: i64,
) -> Error {
    let (noun, limit, used) = (metric.noun(), quota.limit, quota.used);
    let most = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let detail =
        format!("{noun} quota exceeded: {used} of {most} used, {requested} more requested.");
    Error::new(ProblemCode::QuotaExceeded, detail)
        .with("metric", metric.as_str())
        .with("organization_id", organization.to_string())
        .with("limit", limit)
        .with("used", used)
        .with("requested", requested)
}

/// Returns one quota with its use.
pub async fn of<G>(cx: &mut Cx<G>, organization: OrganizationId, metric: Metric) -> Result<Quota> {
    let found = rows(&mut cx.tx, organization, Some(metric), cx.now).await?;
    let row = found.into_iter().next().ok_or_else(|| Error::not_found("quota"))?;
    Ok(row.quota())
}

#[derive(sqlx::FromRow)]
struct Row {
    metric: Metric,
    quantity: Option<i64>,
    source: QuotaSource,
    used: i64,
}

impl Row {
    fn quota(&self) -> Quota {
        let (limit, used) = (self.quantity, self.used);
        let remaining = limit.map(|limit| (limit - used).max(0));
        Quota { limit, used, remaining, full: remaining == Some(0), from: self.source }
    }
}

/// Returns all quotas of the organization with their use, for its export.
async fn exported(tx: &mut Conn, request: &ExportRequest) -> Result<Vec<QuotaOfMetric>> {
    let organization_id = request.organization;
    let found = rows(tx, organization_id, None, request.now).await?;
    let of = |row: Row| QuotaOfMetric { organization_id, metric: row.metric, quota: row.quota() };
    Ok(found.into_iter().map(of).collect())
}

async fn rows(
    tx: &mut Conn,
    organization: OrganizationId,
    metric: Option<Metric>,
    now: DateTime<Utc>,
) -> Result<Vec<Row>> {
    let sql = "SELECT metric, quantity, source,
                      CASE WHEN metric = 'projects' THEN
                               (SELECT COUNT(*) FROM projects p WHERE p.organization_id = $1)
                           WHEN metric = 'members' THEN
                               (SELECT COUNT(*) FROM memberships m
                                WHERE m.organization_id = $1 AND m.scope = 'organization')
                           WHEN metric LIKE '%_per_month' AND held_since < $2 THEN 0
                           ELSE held END AS used
               FROM quotas WHERE organization_id = $1";
    let (month, query) = (month_of(now), tx.q(sql));
    Ok(query
        .bind(organization)
        .bind(month)
        .and_some(" AND metric = ?", metric)
        .sql(" ORDER BY metric")
        .all()
        .await?)
}
