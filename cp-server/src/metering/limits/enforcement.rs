//! Enforcement: usage with `mode: enforce` is refused when it would exceed a limit.
//!
//! # Design
//! The decision is part of the recording transaction, which holds the rows of the limits. So of two
//! recordings that would both fit, the second one sees the usage of the first one.
//!
//! A rolling limit is checked for the window that ends with the event. It is also checked for the
//! window that ends now, if the event is in it: a late event counts now, too.
//!
//! The work of a recording is bounded, because other recordings wait for it. Each window is summed
//! once, before the first event is decided. A limit whose windows together have room for the whole
//! recording refuses none of its events, and costs one sum. Only the windows of the other limits
//! are checked one by one, and there are at most [`MOST_WINDOWS`] of them.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use uuid::Uuid;

use super::row::{Enforcement, Limit};
use super::windows::Window;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::metering::budgets::cycle_rows as cycles;
use crate::metering::counters::{self, Interval, Tally};
use crate::metering::quantity::Quantity;

/// The maximum number of windows of limits without room for the whole recording. A single event has
/// fewer: at most 15 limits for each of its scopes, with two windows each.
const MOST_WINDOWS: usize = 200;
/// The maximum number of windows that are summed one by one without the sum of all of them first.
const FEW: usize = 2;

/// The limits that apply to a recording, locked until its end.
pub struct Enforced {
    limits: Vec<Held>,
    now: DateTime<Utc>,
}

struct Held {
    limit: Limit,
    most: Quantity,
    /// The usage of each checked window, including the events of this recording.
    used: HashMap<Interval, Quantity>,
    /// The instants at which windows have room again, as far as they were looked up.
    resets: HashMap<Interval, Option<DateTime<Utc>>>,
}

impl Enforced {
    /// Locks the limits of the events with `mode: enforce`, in one order. `events` are what all
    /// events of the recording count, each with whether the event has that mode.
    ///
    /// # Errors
    /// Fails with 422 when too many windows would be checked.
    pub async fn hold(cx: &mut Cx, events: &[(Tally<'_>, bool)]) -> Result<Self> {
        let asking = || events.iter().filter(|(_, asks)| *asks).map(|(event, _)| event);
        let metrics: BTreeSet<&str> = asking().map(|event| event.metric).collect();
        let scopes: BTreeSet<Uuid> =
            asking().flat_map(|event| event.scopes).map(|scope| scope.id).collect();
        let mut held = Self { limits: Vec::new(), now: cx.now };
        if metrics.is_empty() {
            return Ok(held);
        }
        let limits = cx
            .tx
            .select::<Limit>("WHERE organization_id = $1 AND enforcement = $2")
            .bind(cx.at)
            .bind(Enforcement::Enforce)
            .sql(" AND quantity IS NOT NULL AND metric IN (VALUES ")
            .rows(metrics, |query, metric| query.bind(metric))
            .sql(") AND scope_id IN (VALUES ")
            .rows(scopes, |query, scope| query.bind(scope))
            .sql(") AND (cycle_id IS NULL OR ")
            .sql(cycles::ACTIVE)
            .sql(") ORDER BY id")
            .locked();
        let limits = limits.all().await?;
        let mut count = 0;
        for limit in cycles::with_times(&mut cx.tx, cx.at, limits).await? {
            let Some(most) = limit.bound() else { continue };
            let events_of = asking().filter(|event| applies(&limit, event));
            let windows: HashSet<Interval> =
                events_of.flat_map(|event| windows(&limit, event, cx.now)).collect();
            if windows.is_empty() || has_room_for_all(cx, &limit, most, &windows, events).await? {
                continue;
            }
            count += windows.len();
            if count > MOST_WINDOWS {
                let detail = format!(
                    "`observed_at` of events with `mode: enforce` must be in at most {MOST_WINDOWS} \
                     windows of limits that are nearly full. Send fewer events, or fewer different \
                     instants, in one array."
                );
                return Err(Error::invalid("observed_at", detail));
            }
            let mut used = HashMap::with_capacity(windows.len());
            for interval in windows {
                let (scope, series) = (limit.scope, limit.series());
                let sum = counters::sum(&mut cx.tx, cx.at, scope, series, interval).await?;
                used.insert(interval, sum.quantity);
            }
            held.limits.push(Held { limit, most, used, resets: HashMap::new() });
        }
        Ok(held)
    }

    /// Admits what an event counts, or refuses it if the event has `mode: enforce` and exceeds a
    /// limit. The refusal names the limit of the nearest scope.
    pub async fn admit(&mut self, cx: &mut Cx, event: &[Tally<'_>], asks: bool) -> Result<()> {
        if asks {
            let near = |(n, held): (usize, &Held)| {
                let at = |tally: &Tally<'_>| distance(&held.limit, tally);
                event.iter().find_map(|tally| Some((at(tally)?, n, *tally)))
            };
            let mut applying: Vec<_> = self.limits.iter().enumerate().filter_map(near).collect();
            applying.sort_by_key(|(distance, n, _)| (*distance, *n));
            for (_, n, tally) in applying {
                for interval in windows(&self.limits[n].limit, &tally, self.now) {
                    self.limits[n].check(cx, interval, &tally).await?;
                }
            }
        }
        for tally in event {
            for held in self.limits.iter_mut().filter(|held| applies(&held.limit, tally)) {
                for (interval, used) in &mut held.used {
                    if interval.contains(tally.at) {
                        *used += tally.quantity;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Held {
    async fn check(&mut self, cx: &mut Cx, interval: Interval, event: &Tally<'_>) -> Result<()> {
        let (limit, most) = (&self.limit, self.most);
        let used = *self.used.get(&interval).ok_or_else(|| {
            Error::internal(anyhow::anyhow!("a window of limit {} was not summed", limit.id))
        })?;
        if used + event.quantity <= most {
            return Ok(());
        }
        let (set, overflow) = (limit.effective(), limit.overflow.unwrap_or_default());
        let beyond = match overflow == Quantity::default() {
            true => String::new(),
            false => format!(" with an overflow of {overflow}"),
        };
        let detail = format!(
            "The limit of {} {} of {} ({}, {}){beyond} is exceeded: {used} are used, and {} more \
             were requested.",
            set.unwrap_or(most),
            limit.unit,
            limit.metric,
            limit.period,
            limit.window,
            event.quantity
        );
        // A quantity above the whole limit never fits.
        let resets_at = match (event.quantity > most, self.resets.get(&interval)) {
            (true, _) => None,
            (false, Some(known)) => *known,
            (false, None) => {
                let found = resets_at(cx, limit, interval).await?;
                self.resets.insert(interval, found);
                found
            }
        };
        Err(Error::new(ProblemCode::LimitExceeded, detail)
            .with("metric", &*limit.metric)
            .with("unit", &*limit.unit)
            .with("scope", limit.scope.kind.as_str())
            .with("scope_ref", limit.scope)
            .with("project_id", limit.project_id.map(|id| id.to_string()))
            .with("window", limit.window.as_str())
            .with("period", limit.period.as_str())
            .with("limit", set)
            .with("overflow", overflow)
            .with("used", used)
            .with("requested", event.quantity)
            .with("resets_at", resets_at))
    }
}

/// Returns the windows in which the event counts: its own, and the current one if it contains the
/// event.
fn windows(
    limit: &Limit,
    event: &Tally<'_>,
    now: DateTime<Utc>,
) -> impl Iterator<Item = Interval> + use<> {
    let own = limit.window_at(event.at);
    let current = limit.window_at(now);
    let current = current.filter(|c| Some(*c) != own && c.contains(event.at));
    own.into_iter().chain(current)
}

/// Returns whether all events would fit if all windows of the limit were one.
async fn has_room_for_all(
    cx: &mut Cx,
    limit: &Limit,
    most: Quantity,
    windows: &HashSet<Interval>,
    events: &[(Tally<'_>, bool)],
) -> Result<bool> {
    if windows.len() <= FEW {
        return Ok(false);
    }
    let whole = Interval {
        // `None` is the smallest: a window without a beginning includes all earlier time.
        since: windows.iter().map(|window| window.since).min().flatten(),
        until: match windows.iter().any(|window| window.until.is_none()) {
            true => None,
            false => windows.iter().filter_map(|window| window.until).max(),
        },
    };
    let before = counters::sum(&mut cx.tx, cx.at, limit.scope, limit.series(), whole).await?;
    let added = events.iter().filter(|(event, _)| applies(limit, event));
    let all = added.fold(before.quantity, |all, (event, _)| all + event.quantity);
    Ok(all <= most)
}

fn applies(limit: &Limit, event: &Tally<'_>) -> bool {
    distance(limit, event).is_some()
}

/// Returns how far the scope of the limit is from the event; `None` when the limit does not apply.
fn distance(limit: &Limit, event: &Tally<'_>) -> Option<usize> {
    let scope = || event.scopes.iter().position(|scope| *scope == limit.scope);
    if limit.series() == (event.metric, event.unit) { scope() } else { None }
}

/// Returns the earliest instant with room again. A gauge has none, because its usage does not
/// expire.
async fn resets_at(
    cx: &mut Cx,
    limit: &Limit,
    interval: Interval,
) -> Result<Option<DateTime<Utc>>> {
    match limit.window {
        Window::Gauge => Ok(None),
        Window::Calendar | Window::Cycle => {
            Ok(interval.until.map(|until| until + TimeDelta::microseconds(1)))
        }
        Window::Rolling => {
            let first =
                counters::first(&mut cx.tx, cx.at, limit.scope, limit.series(), interval).await?;
            let first = first.or(interval.until);
            Ok(first.map(|at| at + limit.period.length() + TimeDelta::microseconds(1)))
        }
    }
}
