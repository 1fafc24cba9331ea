//! An event during its recording.

use chrono::{DateTime, Utc};

use crate::identity::scopes::ScopeRef;
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::error::Error;
use crate::kernel::http::json::CLOCK_SKEW;
use crate::metering::budgets::rows::CREDITS;
use crate::metering::counters::Tally;
use crate::metering::usage::event::UsageEvent;

/// An event during its recording.
pub(super) struct Item {
    pub(super) event: UsageEvent,
    /// The scopes for which the event counts, nearest first.
    pub(super) scopes: Vec<ScopeRef>,
    /// Whether the event has `mode: enforce`.
    pub(super) asks: bool,
    /// The instant of the usage, as the caller reports it.
    pub(super) dated: Option<DateTime<Utc>>,
    pub(super) fate: Fate,
}

pub(super) enum Fate {
    Open,
    Known,
    Refused(Error),
    /// The event has the key of an earlier event of the same request.
    Twin(usize),
}

impl Item {
    /// Returns what the event counts: its own quantity, and its credits.
    pub(super) fn tallies(&self) -> Vec<Tally<'_>> {
        let event = &self.event;
        let tally = |metric, unit, quantity| Tally {
            scopes: &self.scopes,
            metric,
            unit,
            quantity,
            at: event.observed_at,
        };
        let own = tally(&event.metric, &event.unit, event.quantity);
        let credits = event.credits.map(|credits| tally(CREDITS, &event.product, credits));
        std::iter::once(own).chain(credits).collect()
    }

    /// Returns the key under which the event is recorded once, within its deployment or the
    /// organization.
    pub(super) fn key(&self) -> Option<Key> {
        let key = self.event.idempotency_key.clone()?;
        Some((self.event.deployment_id, key))
    }

    /// Returns whether the event has the same content as the recorded one.
    pub(super) fn repeats(&self, recorded: &UsageEvent) -> bool {
        let event = &self.event;
        (event.project_id, &event.run_id) == (recorded.project_id, &recorded.run_id)
            && (&event.metric, &event.unit) == (&recorded.metric, &recorded.unit)
            && event.product == recorded.product
            && (event.group_id, event.user_id) == (recorded.group_id, recorded.user_id)
            && event.quantity == recorded.quantity
            && (&event.dims, &event.metadata) == (&recorded.dims, &recorded.metadata)
            && self.dated.is_none_or(|at| is_of(at, recorded))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.fate, Fate::Open)
    }
}

/// Returns whether the recorded event was reported with this instant; an instant ahead counted as
/// now.
fn is_of(reported: DateTime<Utc>, recorded: &UsageEvent) -> bool {
    let recorded_at = recorded.recorded_at;
    let counted_as_now = recorded.observed_at == recorded_at
        && (recorded_at..=recorded_at + CLOCK_SKEW).contains(&reported);
    reported == recorded.observed_at || counted_as_now
}

pub(super) type Key = (Option<DeploymentId>, String);

pub(super) fn open(items: &[Item]) -> impl Iterator<Item = &Item> {
    items.iter().filter(|item| item.is_open())
}
