//! Levels: how full the limits are whose levels are announced.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::row::Limit;
use super::windows::Window;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::metering::budgets::cycle_rows as cycles;
use crate::metering::counters;
use crate::metering::ids::LimitId;
use crate::metering::quantity::Quantity;

/// A limit with its use.
#[derive(Debug)]
pub struct LimitLevel {
    pub limit: LimitId,
    pub organization: OrganizationId,
    /// The percentages at which the limit is announced.
    pub percentages: Vec<i64>,
    pub most: Quantity,
    pub used: Quantity,
    /// The limit and its window: in another one the levels are announced again.
    pub basis: String,
}

impl LimitLevel {
    /// Compares the use with a percentage of the limit. No use is less than every percentage.
    pub fn compared_to(&self, percent: i64) -> Ordering {
        if self.used == Quantity::default() {
            return Ordering::Less;
        }
        let part = self.most.times(Quantity::from_parts(percent, 0));
        self.used.times(Quantity::from_parts(100, 0)).cmp(&part)
    }
}

/// The limits with levels after an ID, those of closed cycles left out.
pub const WATCHED: &str = "WHERE usage_limits.notify_at IS NOT NULL AND usage_limits.id > $1
       AND (usage_limits.cycle_id IS NULL OR EXISTS (
            SELECT 1 FROM budget_cycles c WHERE c.id = usage_limits.cycle_id AND c.status = 'active'))
     ORDER BY usage_limits.id LIMIT $2";

/// Returns the next limits with their use, and the last ID.
pub async fn page(
    tx: &mut Conn,
    after: LimitId,
    most: i64,
    now: DateTime<Utc>,
) -> Result<(Vec<LimitLevel>, Option<LimitId>)> {
    let limits: Vec<Limit> = tx.select(WATCHED).bind(after).bind(most).all().await?;
    let last = limits.last().map(|limit| limit.id);
    let mut levels = Vec::with_capacity(limits.len());
    for limit in limits {
        let organization = limit.organization_id;
        let limit = cycles::with_times(tx, organization, vec![limit]).await?.pop();
        let Some(limit) = limit else { continue };
        let (Some(most), Some(interval)) = (limit.effective(), limit.window_at(now)) else {
            continue;
        };
        let sum = counters::sum(tx, organization, limit.scope, limit.series(), interval).await?;
        let since = match limit.window {
            Window::Calendar | Window::Cycle => interval.since,
            Window::Rolling | Window::Gauge => None,
        };
        let since = since.map_or(String::new(), |since| since.timestamp().to_string());
        levels.push(LimitLevel {
            limit: limit.id,
            organization,
            percentages: limit.notify_at.map_or_else(Vec::new, |at| at.all().to_vec()),
            most,
            used: sum.quantity,
            basis: format!("{most} {since}"),
        });
    }
    Ok((levels, last))
}
