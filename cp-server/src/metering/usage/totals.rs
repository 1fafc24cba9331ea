//! The sums of an organization's usage, in its export.

use schemars::JsonSchema;
use serde::Serialize;

use crate::identity::scopes::ScopeRef;
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::kernel::section::ExportRequest;
use crate::metering::counters::{self, EVER, Interval, Part, Question, Scopes};
use crate::metering::quantity::Quantity;

/// The usage of a metric within the requested time.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UsageTotal {
    metric: String,
    unit: String,
    quantity: Quantity,
    /// The number of events.
    events: i64,
}

/// Reads the sums by metric and unit from the counters, independent of the number of events.
pub(super) async fn totals(tx: &mut Conn, request: &ExportRequest) -> Result<Vec<UsageTotal>> {
    let window = &request.window;
    let interval =
        Interval { since: window.since.map(|at| at.0), until: window.until.map(|at| at.0) };
    let scopes = Scopes::One(ScopeRef::organization(request.organization));
    let question = Question { scopes, series: None, interval, grain: EVER, limit: i64::MAX };
    let parts = counters::ask(tx, request.organization, question).await?;
    let total = |part: Part| UsageTotal {
        metric: part.metric,
        unit: part.unit,
        quantity: part.sum.quantity,
        events: part.sum.events,
    };
    Ok(parts.into_iter().map(total).collect())
}
