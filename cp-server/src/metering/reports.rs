//! What a data plane without a network has counted becomes usage when its report is taken in.

use chrono::TimeDelta;
use cp_contracts::UsageReport as Report;
use serde_json::json;

use super::quantity::Quantity;
use super::usage::{Batch, NewUsageEvent, Outcome};
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{CLOCK_SKEW, Moment};
use crate::kernel::text::{Name, quoted};
use crate::licensing::usage_reports::{self, ReportFile, UsageReport};

crate::routes! { usage_reports:
    /// Takes in a report file of a data plane without a network; each once, and in order.
    ///
    /// Its counters become usage events of the deployment, observed at the report's last instant.
    POST "/deployments/{id}/usage-reports" DEPLOYMENTS_WRITE => import;
}

/// Counters of one report: each is a series of its own, which others wait for.
const MOST_COUNTERS: usize = 1000;

async fn import(cx: &mut Cx, id: DeploymentId, file: ReportFile) -> Result<Created<UsageReport>> {
    let (row, report) = usage_reports::take_in(cx, id, file).await?;
    let refused = |what: String| Error::invalid("file", format!("file: {what}"));
    if report.counters.len() > MOST_COUNTERS {
        let count = report.counters.len();
        return Err(refused(format!(
            "it must have at most {MOST_COUNTERS} counters (got {count})."
        )));
    }
    if report.until > cx.now + CLOCK_SKEW {
        let ahead = CLOCK_SKEW.num_minutes();
        return Err(refused(format!(
            "`until` must be at most {ahead} minutes ahead of the server's clock. Correct the clock of \
             the data plane."
        )));
    }
    let events = events_of(&row, &report).map_err(refused)?;
    for outcome in Batch::new(cx, events)?.record(cx).await? {
        if let Outcome::Refused(error) = outcome {
            return Err(error);
        }
    }
    Ok(Created(row))
}

fn events_of(row: &UsageReport, report: &Report) -> Result<Vec<NewUsageEvent>, String> {
    // The end of a report is the first instant that it does not tell of.
    let last = (report.until - TimeDelta::microseconds(1)).max(report.since);
    let last = Moment::new(last).map_err(|e| format!("until {e}"))?;
    let dims = json!({"usage_report_id": row.id, "license_id": report.license_id});
    let dims = Object::bounded("dims", dims.as_object().cloned().unwrap_or_default());
    let dims = dims.map_err(|error| error.detail().to_owned())?;
    let event = |(metric, number): (&String, &serde_json::Number)| {
        let named = |e: String| format!("counter {}: {e}", quoted(metric));
        Ok(NewUsageEvent {
            metric: metric.parse::<Name>().map_err(named)?,
            // A file cannot be corrected here; a data plane's own sums may end in float noise.
            quantity: Quantity::cut(&number.to_string()).map_err(named)?,
            unit: None,
            project_id: None,
            run_id: None,
            deployment_id: Some(row.deployment_id),
            dims: dims.clone(),
            observed_at: Some(last),
            idempotency_key: None,
            metadata: Object::default(),
            mode: None,
        })
    };
    report.counters.iter().map(event).collect()
}
