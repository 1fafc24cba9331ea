//! Counters: sums by time, which answer every question about usage without reading its events.
//!
//! # Design
//! An event is added to one bucket of every size, from its microsecond to its day, and to the total
//! of its series. The sum of a window adds the whole days in it, then the hours left at both ends,
//! then minutes, down to single instants. The sum is exact. It reads a few hundred rows at most
//! besides the window's days, whatever the number of events. The smallest buckets are instants, not
//! events, because a whole batch may share one instant.
//!
//! An event is counted once for each of its scopes: the organization, its project, its person, and
//! its group with all groups above. So a sum of a scope costs the same, whatever is below it.
//!
//! Every transaction locks the rows of the series first, in one order. The lock covers the counters
//! of the series.

mod buckets;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use self::buckets::{DAY, EVER, HOUR, Interval};
use self::buckets::{INSTANT, SIZES, spans};
use super::quantity::Quantity;
use crate::identity::scopes::{ScopeKind, ScopeRef};
use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::db::Conn;
use crate::kernel::db::query::Query;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::metering::ids::UsageSeriesId;

/// The maximum total of a series, in units. A batch adds at most as much again, so that no sum of a
/// series or of its buckets comes near 2^63.
const MOST: i64 = 1_000_000_000_000_000_000;
/// The maximum number of series of an organization, those of its projects and groups included. The
/// series of people are as many at most for each member, and plans limit members.
const MOST_SERIES: i64 = 10_000;
/// The maximum number of rows of one statement. One statement of each length is prepared, so the
/// number is small.
const CHUNK: usize = 100;

/// The counted part of one event.
#[derive(Clone, Copy, Debug)]
pub struct Tally<'a> {
    /// The scopes for which the event counts, nearest first. The organization is the last one.
    pub scopes: &'a [ScopeRef],
    pub metric: &'a str,
    pub unit: &'a str,
    pub quantity: Quantity,
    pub at: DateTime<Utc>,
}

/// A number of events, and the sum of their quantities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub events: i64,
    pub quantity: Quantity,
}

impl Sum {
    fn add(&mut self, quantity: Quantity) {
        self.events += 1;
        self.quantity += quantity;
    }

    /// Subtracts the other sums from this sum.
    pub fn without<'s>(self, others: impl Iterator<Item = &'s Self>) -> Self {
        others.fold(self, |left, other| Self {
            events: left.events - other.events,
            quantity: left.quantity - other.quantity,
        })
    }
}

/// The sum of one series in one stretch of the grain.
#[derive(Clone, Debug)]
pub struct Part {
    pub scope: ScopeRef,
    pub metric: String,
    pub unit: String,
    pub starts_at: i64,
    pub sum: Sum,
}

/// The scopes of a question.
#[derive(Clone, Copy, Debug)]
pub enum Scopes {
    One(ScopeRef),
    /// The organization and its projects.
    Projects,
    /// All scopes of the organization.
    All,
}

/// A question for sums.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub scopes: Scopes,
    /// The metric and the unit.
    pub series: Option<(&'a str, &'a str)>,
    pub interval: Interval,
    /// The length of the stretches that are summed separately: [`HOUR`], [`DAY`] or [`EVER`].
    pub grain: i64,
    /// The maximum number of parts.
    pub limit: i64,
}

/// Returns the sum of a metric.
pub async fn sum(
    tx: &mut Conn,
    organization: OrganizationId,
    scope: ScopeRef,
    series: (&str, &str),
    interval: Interval,
) -> Result<Sum> {
    let (scopes, series) = (Scopes::One(scope), Some(series));
    let question = Question { scopes, series, interval, grain: EVER, limit: 1 };
    let parts = ask(tx, organization, question).await?;
    Ok(parts.first().map(|part| part.sum).unwrap_or_default())
}

/// Returns the instant of the first usage of a metric.
pub async fn first(
    tx: &mut Conn,
    organization: OrganizationId,
    scope: ScopeRef,
    (metric, unit): (&str, &str),
    interval: Interval,
) -> Result<Option<DateTime<Utc>>> {
    let (since, until) = interval.micros();
    let sql = "SELECT MIN(starts_at) FROM usage_counters
               WHERE size = $5 AND starts_at >= $6 AND starts_at < $7 AND series_id = (
                   SELECT id FROM usage_series
                   WHERE organization_id = $1 AND scope = $2 AND metric = $3 AND unit = $4)";
    let query = tx.q(sql).bind(organization).bind(scope.id).bind(metric).bind(unit);
    let first: Option<Option<i64>> = query.bind(INSTANT).bind(since).bind(until).value().await?;
    Ok(first.flatten().and_then(DateTime::from_timestamp_micros))
}

type PartRow = (ScopeKind, Uuid, String, String, i64, i64, i64, i64);

/// Returns the parts, sorted by metric, unit and time.
pub async fn ask(
    tx: &mut Conn,
    organization: OrganizationId,
    question: Question<'_>,
) -> Result<Vec<Part>> {
    let Question { interval, grain, limit, .. } = question;
    let narrowed = |query| narrowed(query, organization, question);
    let query = if interval == Interval::default() && grain == EVER {
        // All time is the totals.
        narrowed(
            tx.q("SELECT scope_kind, scope, metric, unit, CAST(0 AS BIGINT), events, units, micros
                       FROM usage_series s WHERE TRUE"),
        )
    } else {
        let spans = spans(interval.micros(), grain);
        if spans.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = tx.q("SELECT scope_kind, scope, metric, unit").and(
            ", starts_at - starts_at % ?, CAST(SUM(events) AS BIGINT),
               CAST(SUM(units) AS BIGINT), CAST(SUM(micros) AS BIGINT) FROM (",
            grain,
        );
        for (n, span) in spans.into_iter().enumerate() {
            // One branch per span: with a join on a table of spans, PostgreSQL cannot estimate how
            // few rows these are, and reads them all. CROSS JOIN makes SQLite read the series
            // first.
            query = query
                .sql(if n == 0 { "" } else { " UNION ALL " })
                .sql(
                    "SELECT s.scope_kind, s.scope, s.metric, s.unit, c.starts_at, c.events, c.units, c.micros
                     FROM usage_series s CROSS JOIN usage_counters c WHERE c.series_id = s.id",
                )
                .and(" AND c.size = ?", span.size)
                .and(" AND c.starts_at >= ?", span.since)
                .and(" AND c.starts_at < ?", span.until);
            query = narrowed(query);
        }
        query.sql(") AS counted GROUP BY 1, 2, 3, 4, 5")
    };
    let rows: Vec<PartRow> = query.sql(" ORDER BY 3, 4, 5, 2").limit(limit).all().await?;
    let part = |(kind, id, metric, unit, starts_at, events, units, micros)| Part {
        scope: ScopeRef { kind, id },
        metric,
        unit,
        starts_at,
        sum: Sum { events, quantity: Quantity::from_parts(units, micros) },
    };
    Ok(rows.into_iter().map(part).collect())
}

fn narrowed<'c>(
    query: Query<'c>,
    organization: OrganizationId,
    Question { scopes, series, .. }: Question<'_>,
) -> Query<'c> {
    let query = query.and(" AND s.organization_id = ?", organization);
    let query = match scopes {
        Scopes::One(scope) => query.and(" AND s.scope = ?", scope.id),
        Scopes::Projects => query.sql(" AND s.scope_kind IN ('organization', 'project')"),
        Scopes::All => query,
    };
    query
        .and_some(" AND s.metric = ?", series.map(|(metric, _)| metric))
        .and_some(" AND s.unit = ?", series.map(|(_, unit)| unit))
}

/// Counts events. The rows of their series are locked until the end of the transaction.
pub async fn add(cx: &mut Cx, tallies: &[Tally<'_>]) -> Result<()> {
    type Buckets = BTreeMap<(i64, i64), Sum>;
    // Sorted, so that all transactions lock the series in one order.
    let mut series: BTreeMap<SeriesKey<'_>, (Sum, Buckets)> = BTreeMap::new();
    for tally in tallies {
        for scope in tally.scopes {
            let (total, buckets) = series.entry((*scope, tally.metric, tally.unit)).or_default();
            total.add(tally.quantity);
            let at = tally.at.timestamp_micros();
            for size in SIZES {
                buckets.entry((size, at - at % size)).or_default().add(tally.quantity);
            }
        }
    }
    let keyed: Vec<_> = series.into_iter().collect();
    let (mut counters, mut has_new) = (Vec::new(), false);
    for chunk in keyed.chunks(CHUNK) {
        let totals = chunk.iter().map(|(key, (total, _))| (*key, *total));
        let (ids, is_new) = add_to_series(cx, totals).await?;
        has_new |= is_new;
        for (key, (_, buckets)) in chunk {
            let (_, metric, _) = key;
            let id = *ids.get(key).ok_or_else(|| too_much(metric))?;
            counters.extend(buckets.iter().map(|(bucket, sum)| (id, *bucket, *sum)));
        }
    }
    if has_new {
        refuse_many_series(cx).await?;
    }
    for chunk in counters.chunks(CHUNK) {
        let sql = "INSERT INTO usage_counters
                   (series_id, size, starts_at, events, units, micros) VALUES ";
        let insert = cx.tx.q(sql).rows(chunk, |query, (series, (size, starts_at), sum)| {
            let (units, micros) = sum.quantity.parts();
            let query = query.bind(*series).bind(*size).bind(*starts_at);
            query.bind(sum.events).bind(units).bind(micros)
        });
        let insert = insert.sql(
            " ON CONFLICT (series_id, size, starts_at) DO UPDATE
              SET events = usage_counters.events + excluded.events,
                  units = usage_counters.units + excluded.units,
                  micros = usage_counters.micros + excluded.micros",
        );
        insert.exec().await?;
    }
    Ok(())
}

type SeriesKey<'a> = (ScopeRef, &'a str, &'a str);

/// Adds to the totals of series. Returns their IDs, and whether any of them is new. A series whose
/// total would exceed [`MOST`] is left unchanged and is not in the result.
async fn add_to_series<'a>(
    cx: &mut Cx,
    totals: impl Iterator<Item = (SeriesKey<'a>, Sum)> + Clone,
) -> Result<(BTreeMap<SeriesKey<'a>, UsageSeriesId>, bool)> {
    let sql = "INSERT INTO usage_series
               (id, organization_id, scope_kind, scope, metric, unit, events, units, micros) VALUES ";
    let (org, random, now) = (cx.at, cx.app.random.clone(), cx.now);
    let with_ids: Vec<_> =
        totals.clone().map(|total| (UsageSeriesId::new(&random, now), total)).collect();
    let insert = cx.tx.q(sql).rows(&with_ids, |query, (id, ((scope, metric, unit), sum))| {
        let (units, micros) = sum.quantity.parts();
        let query = query.bind(*id).bind(org).bind(scope.kind).bind(scope.id);
        query.bind(*metric).bind(*unit).bind(sum.events).bind(units).bind(micros)
    });
    let insert = insert
        .sql(
            " ON CONFLICT (organization_id, scope, metric, unit) DO UPDATE
              SET events = usage_series.events + excluded.events,
                  units = usage_series.units + excluded.units,
                  micros = usage_series.micros + excluded.micros",
        )
        .and(" WHERE usage_series.units + excluded.units <= ?", MOST)
        .sql(" RETURNING id, scope_kind, scope, metric, unit");
    let rows: Vec<(UsageSeriesId, ScopeKind, Uuid, String, String)> = insert.all().await?;
    let is_new = rows.iter().any(|(id, ..)| with_ids.iter().any(|(new, _)| new == id));
    let found: BTreeMap<(ScopeRef, String, String), UsageSeriesId> = rows
        .into_iter()
        .map(|(series, kind, id, metric, unit)| ((ScopeRef { kind, id }, metric, unit), series))
        .collect();
    let id_of = |(scope, metric, unit): SeriesKey<'a>| {
        let id = *found.get(&(scope, metric.to_owned(), unit.to_owned()))?;
        Some(((scope, metric, unit), id))
    };
    Ok((totals.filter_map(|(key, _)| id_of(key)).collect(), is_new))
}

/// Refuses new series beyond the maximum of an organization. It locks the organization's row, so
/// that two transactions do not both add the last allowed series.
async fn refuse_many_series(cx: &mut Cx) -> Result<()> {
    let hold = cx.tx.q2(
        "SELECT id FROM organizations WHERE id = $1",
        "SELECT id FROM organizations WHERE id = $1 FOR NO KEY UPDATE",
    );
    hold.bind(cx.at).exec().await?;
    let sql = "SELECT COUNT(*) FROM usage_series
               WHERE organization_id = $1 AND scope_kind <> 'user'";
    let count: Option<i64> = cx.tx.q(sql).bind(cx.at).value().await?;
    if count.unwrap_or_default() <= MOST_SERIES {
        return Ok(());
    }
    let detail = format!(
        "`metric`: an organization counts at most {MOST_SERIES} combinations of metric, unit and \
         project or group. Use metrics that are counted already."
    );
    Err(Error::invalid("metric", detail))
}

fn too_much(metric: &str) -> Error {
    let detail = format!("`quantity` must keep the total of metric {metric} at most {MOST}.");
    Error::invalid("quantity", detail)
}

/// Deletes a project's own counters; the organization's stay.
pub async fn leave_project(cx: &mut Cx, project: ProjectId) -> Result<()> {
    let sql = "DELETE FROM usage_series WHERE organization_id = $1 AND scope = $2";
    cx.tx.q(sql).bind(cx.at).bind(project).exec().await?;
    Ok(())
}
