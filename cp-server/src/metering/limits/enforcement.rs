//! Enforcement: usage that asks first is refused when it would go beyond a limit.
//!
//! # Design
//! The decision is made in the recording transaction, while it holds the rows of the limits: of
//! two recordings that both would find room, the second one sees the first one's usage.
//!
//! A rolling limit is asked for the window that ends with the event, and for the one that ends
//! now if the event is in it: a late event counts now, too.
//!
//! What a recording asks is bounded, because others wait for it. Each window is summed once, before
//! the first event is decided. A limit with room for the whole recording in all of its windows
//! together refuses none of its events, and costs one sum. Only the windows of the other limits are
//! looked at one by one, and of those there are at most [`MOST_WINDOWS`].

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;

use super::row::{Enforcement, Limit};
use super::windows::Window;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::metering::counters::{self, Interval, Tally};
use crate::metering::quantity::Quantity;

/// Windows of limits without room for all of a recording. A single event has fewer: there are 30
/// limits at most that apply to it, with two windows each.
const MOST_WINDOWS: usize = 200;
/// So few windows are summed one by one at once.
const FEW: usize = 2;

/// The limits that a recording has to keep to, held until its end.
pub struct Enforced {
    limits: Vec<Held>,
    now: DateTime<Utc>,
}

struct Held {
    limit: Limit,
    most: Quantity,
    /// What is used in each window that is asked for, with what this recording has added.
    used: HashMap<Interval, Quantity>,
    /// When there is room again, as far as it was looked up.
    resets: HashMap<Interval, Option<DateTime<Utc>>>,
}

impl Enforced {
    /// Holds the limits of the events that ask, in one order. `events` are all of the recording,
    /// each with whether it asks.
    ///
    /// # Errors
    /// 422 when too many windows would have to be looked at.
    pub async fn hold(cx: &mut Cx, events: &[(Tally<'_>, bool)]) -> Result<Self> {
        let asking = || events.iter().filter(|(_, asks)| *asks).map(|(event, _)| event);
        let metrics: BTreeSet<&str> = asking().map(|event| event.metric).collect();
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
            .sql(") ORDER BY id")
            .locked();
        let mut count = 0;
        for limit in limits.all().await? {
            let Some(most) = limit.quantity else { continue };
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
                let (scope, series) = (limit.scope(), limit.series());
                let sum = counters::sum(&mut cx.tx, cx.at, scope, series, interval).await?;
                used.insert(interval, sum.quantity);
            }
            held.limits.push(Held { limit, most, used, resets: HashMap::new() });
        }
        Ok(held)
    }

    /// Takes the event in, or refuses it if it asks to be refused.
    pub async fn admit(&mut self, cx: &mut Cx, event: Tally<'_>, asks: bool) -> Result<()> {
        for held in self.limits.iter_mut().filter(|_| asks) {
            if !applies(&held.limit, &event) {
                continue;
            }
            for interval in windows(&held.limit, &event, self.now) {
                held.check(cx, interval, &event).await?;
            }
        }
        for held in self.limits.iter_mut().filter(|held| applies(&held.limit, &event)) {
            for (interval, used) in &mut held.used {
                if interval.contains(event.at) {
                    *used += event.quantity;
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
        let scope = if limit.project_id.is_some() { "project" } else { "organization" };
        let detail = format!(
            "{} {} of {} are used of {most} {} ({}); {} more would be too much.",
            used, limit.unit, limit.metric, limit.period, limit.window, event.quantity
        );
        // What alone is too much will be so at any time.
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
            .with("scope", scope)
            .with("project_id", limit.project_id.map(|id| id.to_string()))
            .with("window", limit.window.as_str())
            .with("period", limit.period.as_str())
            .with("limit", most)
            .with("used", used)
            .with("requested", event.quantity)
            .with("resets_at", resets_at))
    }
}

/// The windows in which the event counts: its own, and the current one if it is in it.
fn windows(
    limit: &Limit,
    event: &Tally<'_>,
    now: DateTime<Utc>,
) -> impl Iterator<Item = Interval> + use<> {
    let own = limit.window.at(limit.period, event.at);
    let current = limit.window.at(limit.period, now);
    let current = Some(current).filter(|c| *c != own && c.contains(event.at));
    std::iter::once(own).chain(current)
}

/// Whether all events fit into the limit even if all of its windows were one.
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
        // None is less than any: a window without a beginning has all before it.
        since: windows.iter().map(|window| window.since).min().flatten(),
        until: match windows.iter().any(|window| window.until.is_none()) {
            true => None,
            false => windows.iter().filter_map(|window| window.until).max(),
        },
    };
    let before = counters::sum(&mut cx.tx, cx.at, limit.scope(), limit.series(), whole).await?;
    let added = events.iter().filter(|(event, _)| applies(limit, event));
    let all = added.fold(before.quantity, |all, (event, _)| all + event.quantity);
    Ok(all <= most)
}

fn applies(limit: &Limit, event: &Tally<'_>) -> bool {
    limit.metric == event.metric
        && limit.unit == event.unit
        && limit.project_id.is_none_or(|project| event.project == Some(project))
}

/// When there is room again, at the earliest: never for a gauge, whose usage does not pass.
async fn resets_at(
    cx: &mut Cx,
    limit: &Limit,
    interval: Interval,
) -> Result<Option<DateTime<Utc>>> {
    match limit.window {
        Window::Gauge => Ok(None),
        Window::Calendar => Ok(interval.until.map(|until| until + TimeDelta::microseconds(1))),
        Window::Rolling => {
            let first =
                counters::first(&mut cx.tx, cx.at, limit.scope(), limit.series(), interval).await?;
            let first = first.or(interval.until);
            Ok(first.map(|at| at + limit.period.length() + TimeDelta::microseconds(1)))
        }
    }
}
