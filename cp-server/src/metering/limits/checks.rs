//! Checks: how much of a limit is used.

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::row::Limit;
use super::windows::{Period, Window};
use super::{Key, find, not_set, scope_of};
use crate::identity::scopes::ScopeRef;
use crate::kernel::access::ids::ProjectId;
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Moment;
use crate::kernel::text::Name;
use crate::metering::budgets::cycle_rows as cycles;
use crate::metering::counters::{self, Interval};
use crate::metering::quantity::Quantity;

crate::routes! { limits:
    /// Returns how much of a limit is used.
    ///
    /// A rolling window ends at `until`, or now. A calendar window is the one that contains
    /// `until`, or now; it ends at its own end unless `until` is sent. `since` replaces the
    /// window's beginning. Both ends are inclusive. The check sums the usage of the limit's scope;
    /// that of a group includes the groups below it. `window=cycle` is the active cycle of a
    /// budget: its metric is `credits`, its unit the product.
    GET "/organizations/{org}/limits/check" LIMITS_READ => check;
}

/// The limit to check, and the interval.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The metric of the limit.
    metric: Name,
    /// The unit. `count` when absent.
    unit: Option<Name>,
    /// The kind of window. `rolling` when absent.
    window: Option<Window>,
    /// The length of the window. `monthly` when absent.
    period: Option<Period>,
    /// The scope of the limit. `organization` when absent.
    scope: Option<ScopeRef>,
    /// The same as `scope=project:<id>`.
    project: Option<ProjectId>,
    /// The first instant of the sum. The window's beginning when absent.
    since: Option<Moment>,
    /// The last instant of the sum. When absent, now for a rolling window, and the window's end for
    /// a calendar window.
    until: Option<Moment>,
}

/// A limit and its usage.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LimitUse {
    #[serde(flatten)]
    limit: Limit,
    used: Quantity,
    /// The quantity that is left, at least 0. Null is unlimited.
    remaining: Option<Quantity>,
    /// Whether the usage is more than the limit. Usage equal to the limit is not.
    exceeded: bool,
    interval: LimitInterval,
}

/// A stretch of time. Both ends are inclusive; null is open.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LimitInterval {
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl From<Interval> for LimitInterval {
    fn from(Interval { since, until }: Interval) -> Self {
        Self { since, until }
    }
}

async fn check(cx: &mut Cx, _: Org, check: Check) -> Result<LimitUse> {
    let scope = scope_of(cx, check.scope, check.project, "project")?;
    let key = Key::new(check.metric, check.unit, check.window, check.period, scope);
    if key.window == Window::Cycle {
        products::refuse_reading(&cx.caller, &key.unit)?;
    }
    let found = find(&mut cx.tx, cx.at, &key, false).await?.into_iter().collect();
    let found = cycles::with_times(&mut cx.tx, cx.at, found).await?.pop();
    let Some(limit) = found else { return Err(not_set(cx, scope, check.project).await) };
    let (since, until) = (check.since.map(|m| m.0), check.until.map(|m| m.0));
    let mut interval = match (limit.window_at(until.unwrap_or(cx.now)), limit.cycle) {
        (Some(window), _) => window,
        // Before the cycle, whose beginning is then after the end.
        (None, Some(cycle)) => Interval { since: Some(cycle.starts_at), until: None },
        // Another request has closed the cycle since.
        (None, None) => return Err(not_set(cx, scope, check.project).await),
    };
    interval.since = since.or(interval.since);
    interval.until = until.or(interval.until);
    if let (Some(begin), Some(end)) = (interval.since, interval.until)
        && begin > end
    {
        let shown = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let (begin, end) = (shown(begin), shown(end));
        return Err(match since {
            Some(_) => {
                let detail = format!("`since` must be at most the window's end, {end}.");
                Error::invalid("since", detail)
            }
            None => {
                let detail =
                    format!("`until` must be at least the cycle's beginning, {begin} (got {end}).");
                Error::invalid("until", detail)
            }
        });
    }
    let used = counters::sum(&mut cx.tx, cx.at, limit.scope, limit.series(), interval).await?;
    let used = used.quantity;
    Ok(LimitUse {
        used,
        remaining: limit.effective().map(|quantity| quantity.less(used)),
        exceeded: limit.effective().is_some_and(|quantity| used > quantity),
        interval: interval.into(),
        limit,
    })
}
