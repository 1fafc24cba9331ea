//! Enforcement: usage that asks first is refused when it would go beyond a limit.
//!
//! # Design
//! The decision is made in the recording transaction, while it holds the rows of the limits: of
//! two recordings that both would find room, the second one sees the first one's usage.
//!
//! A rolling limit is asked for the window that ends with the event, and for the one that ends
//! now if the event is in it: a late event counts now, too.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;

use super::windows::Window;
use super::{Enforcement, Limit};
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, Result};
use crate::metering::counters::{self, Interval, Tally};

/// The limits that a recording has to keep to, held until its end.
pub struct Enforced<'a> {
    limits: Vec<Limit>,
    /// What was used before, by limit and window.
    used: HashMap<(usize, Interval), counters::Sum>,
    /// What this recording has added, which no counter has yet.
    added: Vec<Tally<'a>>,
}

impl<'a> Enforced<'a> {
    /// Holds the limits of these metrics, in one order.
    pub async fn hold(cx: &mut Cx, metrics: &BTreeSet<&str>) -> Result<Self> {
        let limits = cx
            .tx
            .select::<Limit>("WHERE organization_id = $1 AND enforcement = $2")
            .bind(cx.org)
            .bind(Enforcement::Enforce)
            .sql(" AND quantity IS NOT NULL AND metric IN (VALUES ")
            .rows(metrics, |query, metric| query.bind(*metric))
            .sql(") ORDER BY id")
            .locked();
        Ok(Self { limits: limits.all().await?, used: HashMap::new(), added: Vec::new() })
    }

    /// Takes the event in, or refuses it if it asks to be refused.
    pub async fn admit(&mut self, cx: &mut Cx, event: Tally<'a>, asks: bool) -> Result<()> {
        for at in 0..if asks { self.limits.len() } else { 0 } {
            let limit = self.limits[at].clone();
            if !applies(&limit, &event) {
                continue;
            }
            let own = limit.window.at(limit.period, event.at);
            let current = limit.window.at(limit.period, cx.now);
            let current = Some(current).filter(|c| *c != own && c.contains(event.at));
            for interval in std::iter::once(own).chain(current) {
                self.check(cx, at, &limit, interval, &event).await?;
            }
        }
        self.added.push(event);
        Ok(())
    }

    async fn check(
        &mut self,
        cx: &mut Cx,
        at: usize,
        limit: &Limit,
        interval: Interval,
        event: &Tally<'a>,
    ) -> Result<()> {
        let Some(most) = limit.quantity else { return Ok(()) };
        let before = match self.used.get(&(at, interval)) {
            Some(sum) => *sum,
            None => {
                let (scope, series) = (limit.scope(), limit.series());
                let sum = counters::sum(&mut cx.tx, cx.org, scope, series, interval).await?;
                self.used.insert((at, interval), sum);
                sum
            }
        };
        let added = self.added.iter().filter(|a| applies(limit, a) && interval.contains(a.at));
        let used = added.fold(before.quantity, |used, added| used + added.quantity);
        if used + event.quantity <= most {
            return Ok(());
        }
        let scope = if limit.project_id.is_some() { "project" } else { "organization" };
        let detail = format!(
            "{} {} of {} are used of {most} {} ({}); {} more would be too much.",
            used, limit.unit, limit.metric, limit.period, limit.window, event.quantity
        );
        // What alone is too much will be so at any time.
        let resets_at = match event.quantity > most {
            true => None,
            false => resets_at(cx, limit, interval).await?,
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
                counters::first(&mut cx.tx, cx.org, limit.scope(), limit.series(), interval)
                    .await?;
            let first = first.or(interval.until);
            Ok(first.map(|at| at + limit.period.length() + TimeDelta::microseconds(1)))
        }
    }
}
