//! The import of usage reports: the counters of a data plane without a network become usage.

use chrono::TimeDelta;
use cp_contracts::UsageReport as Report;
use serde_json::json;
use serde_json::value::RawValue;

use super::quantity::Quantity;
use super::usage::{Batch, NewUsageEvent, Outcome};
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{CLOCK_SKEW, Moment};
use crate::kernel::text::{Name, quoted};
use crate::licensing::usage_reports::{self, Counters, ReportFile, UsageReport};

crate::routes! { usage_reports:
    /// Imports a report file of a data plane without a network. Each report is imported once, in
    /// order.
    ///
    /// Its counters become usage events of the deployment, observed at the report's last instant.
    POST "/deployments/{id}/usage-reports" DEPLOYMENTS_WRITE => import;
}

/// The maximum number of counters of one report. Each counter is its own series, whose lock delays
/// other recordings.
const MOST_COUNTERS: usize = 1000;

async fn import(cx: &mut Cx, id: DeploymentId, file: ReportFile) -> Result<Created<UsageReport>> {
    let (row, report, counters) = usage_reports::take_in(cx, id, file).await?;
    let refused = |rule: String| Error::invalid("file", format!("`file` {rule}"));
    if report.counters.len() > MOST_COUNTERS {
        let count = report.counters.len();
        return Err(refused(format!("must have at most {MOST_COUNTERS} counters (got {count}).")));
    }
    if report.until > cx.now + CLOCK_SKEW {
        let ahead = CLOCK_SKEW.num_minutes();
        return Err(refused(format!(
            "must have an `until` at most {ahead} minutes ahead of the server's clock. Correct the \
             clock of the data plane."
        )));
    }
    let events = events_of(&row, &report, &counters).map_err(refused)?;
    for outcome in Batch::new(cx, events)?.record(cx).await? {
        if let Outcome::Refused(error) = outcome {
            return Err(error);
        }
    }
    Ok(Created(row))
}

fn events_of(
    row: &UsageReport,
    report: &Report,
    counters: &Counters,
) -> Result<Vec<NewUsageEvent>, String> {
    // The end of a report is the first instant after its usage.
    let last = (report.until - TimeDelta::microseconds(1)).max(report.since);
    let last = Moment::new(last).map_err(|e| format!("has an invalid `until`: it {e}."))?;
    let dims = json!({"usage_report_id": row.id, "license_id": report.license_id});
    let dims = Object::bounded("dims", dims.as_object().cloned().unwrap_or_default());
    let dims = dims.map_err(|error| format!("does not fit: {}", error.detail()))?;
    let event = |metric: &str, number: &RawValue| {
        let named = |e: String| format!("has an invalid counter {}: it {e}.", quoted(metric));
        Ok(NewUsageEvent {
            metric: metric.parse::<Name>().map_err(named)?,
            // A file cannot be corrected here, and the sums of a data plane may end in float noise.
            quantity: Quantity::cut(number.get()).map_err(named)?,
            unit: None,
            project_id: None,
            product: None,
            group_id: None,
            user_id: None,
            run_id: None,
            deployment_id: Some(row.deployment_id),
            dims: dims.clone(),
            observed_at: Some(last),
            idempotency_key: None,
            metadata: Object::default(),
            mode: None,
        })
    };
    counters.iter().map(|(metric, number)| event(metric, number)).collect()
}
