//! The use of a license's pools, by hour or day.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hours::{self, HourRow, Taken, Use};
use super::rows::PoolRow;
use super::settings::{PoolName, SEATS};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Moment;
use crate::kernel::http::page::Page;
use crate::licensing::ids::LicenseId;

crate::text_enum! { Step { Hour = "hour", Day = "day" } }

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageQuestion {
    /// The pool. `seats` when absent.
    pool: Option<PoolName>,
    /// The beginning; it is rounded down to the hour or the day, UTC. When absent, a day ago by
    /// hours, and 30 days ago by days.
    since: Option<Moment>,
    /// The end, exclusive. Now when absent.
    until: Option<Moment>,
    /// The length of a row. `hour` when absent.
    by: Option<Step>,
}

/// The use of a pool in one hour or one day.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct PoolUse {
    starts_at: DateTime<Utc>,
    /// The most seats that were taken at once.
    peak: i64,
    /// The most seats beyond the cap that were taken at once.
    overage_peak: i64,
    /// The leases that began.
    tenures: i64,
    /// The sum of the times in which seats were taken, in seconds.
    seat_seconds: i64,
    /// The claims that found no seat. A server that was killed has lost those of its last seconds.
    refused: i64,
}

/// The most rows of an answer by days, and of hours behind it.
const MOST_ROWS: i64 = 1000;

pub(super) async fn usage(
    cx: &mut Cx,
    id: LicenseId,
    asked: UsageQuestion,
) -> Result<Page<PoolUse>> {
    let (step, back) = match asked.by.unwrap_or(Step::Hour) {
        Step::Hour => (TimeDelta::hours(1), TimeDelta::days(1)),
        Step::Day => (TimeDelta::days(1), TimeDelta::days(30)),
    };
    let until = asked.until.map_or(cx.now, |at| at.0).min(cx.now);
    let since = asked.since.map_or(until - back, |at| at.0);
    let since = hours::beginning(since, step);
    if (until - since).num_seconds() / step.num_seconds() >= MOST_ROWS {
        let detail =
            format!("`since` must be so late that the answer has at most {MOST_ROWS} rows.");
        return Err(Error::invalid("since", detail));
    }
    let name = asked.pool.as_ref().map_or(SEATS, PoolName::as_str);
    let pools = cx.tx.select("WHERE license_id = $1 AND name = $2").bind(id).bind(name);
    let pools: Vec<PoolRow> = pools.sql(" ORDER BY lease_pools.id").all().await?;
    let mut rows = BTreeMap::new();
    for pool in &pools {
        add(cx, pool, (since, until, step), &mut rows).await?;
    }
    let items = rows.into_values().collect();
    Ok(Page { items, next_cursor: None })
}

/// Adds the use of one pool to the rows.
async fn add(
    cx: &mut Cx,
    pool: &PoolRow,
    (since, until, step): (DateTime<Utc>, DateTime<Utc>, TimeDelta),
    rows: &mut BTreeMap<DateTime<Utc>, PoolUse>,
) -> Result<()> {
    let between = "WHERE pool_id = $1 AND starts_at >= $2 AND starts_at < $3 ORDER BY starts_at";
    let query = cx.tx.select(between).bind(pool.id).bind(since).bind(until);
    let hours: Vec<HourRow> = query.all().await?;
    let computed = hours.iter().filter(|hour| hour.peak.is_some()).map(|hour| hour.starts_at).max();
    // Hours that the job has not reached.
    let open = computed.map_or(since, |last| last + TimeDelta::hours(1));
    let mut found: BTreeMap<DateTime<Utc>, (Use, i64)> = BTreeMap::new();
    for hour in hours {
        let used = Use {
            peak: hour.peak.unwrap_or(0),
            overage_peak: hour.overage_peak.unwrap_or(0),
            tenures: hour.tenures.unwrap_or(0),
            seat_seconds: hour.seat_seconds.unwrap_or(0),
        };
        found.insert(hour.starts_at, (used, hour.refused));
    }
    let taken = match open < until {
        true => hours::taken(&mut cx.tx, pool, open, until).await?,
        false => Vec::<Taken>::new(),
    };
    let mut hour = hours::beginning(open, TimeDelta::hours(1));
    while hour < until && !taken.is_empty() {
        let end = (hour + TimeDelta::hours(1)).min(until);
        found.entry(hour).or_default().0 = hours::sweep(&taken, hour, end);
        hour += TimeDelta::hours(1);
    }
    for (starts_at, (used, refused)) in found {
        let starts_at = hours::beginning(starts_at, step);
        let row = rows.entry(starts_at).or_default();
        row.starts_at = starts_at;
        row.peak = row.peak.max(used.peak);
        row.overage_peak = row.overage_peak.max(used.overage_peak);
        row.tenures += used.tenures;
        row.seat_seconds += used.seat_seconds;
        row.refused += refused;
    }
    Ok(())
}
