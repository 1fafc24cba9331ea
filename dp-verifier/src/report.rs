//! Usage reports: files with the usage of a data plane without a network, for its vendor.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use chrono::{DateTime, Utc};
use cp_contracts::{CONTRACT_VERSION, PoolUsage, UsageReport, UsageReportKind};
use semver::Version;
use serde_json::{Map, Number};

use crate::state_file::{KeptReport, KeptState, StateStore};
use crate::{Clock, SystemClock, Verifier, VerifyError};

impl Verifier {
    /// Creates the next usage report of the deployment of the [license files](Self::import).
    ///
    /// `counters` is the usage of each metric since the previous report, or since the first license
    /// file was issued; 0 or more. The text is a complete file. Write it unchanged: the next report
    /// contains its hash. Each call creates a report with a new number, which the state file
    /// stores.
    ///
    /// # Errors
    ///
    /// Returns [`ReportError`] when a counter is negative, when no license file was imported, or
    /// when the state file cannot be written.
    pub fn usage_report(&self, counters: BTreeMap<String, Number>) -> Result<String, ReportError> {
        self.usage_report_with_leases(counters, BTreeMap::new())
    }

    /// Creates the next usage report as [`usage_report`](Self::usage_report) does, with the use of
    /// each pool of seats since the previous report.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`usage_report`](Self::usage_report), and an error when a number is
    /// negative.
    pub fn usage_report_with_leases(
        &self,
        counters: BTreeMap<String, Number>,
        leases: BTreeMap<String, PoolUsage>,
    ) -> Result<String, ReportError> {
        let lists = &self.inner().lists;
        let now = lists.floor.corrected(lists.clock.now());
        next(lists.floor.store(), now, Usage { counters, leases })
    }
}

/// Creates the next usage report as [`Verifier::usage_report`] does, from the
/// [state file](crate::VerifierBuilder::state_path) alone.
///
/// # Errors
///
/// Returns the errors of [`Verifier::usage_report`], and an error when the file cannot be read.
pub fn usage_report(
    state: &Path,
    counters: BTreeMap<String, Number>,
) -> Result<String, ReportError> {
    usage_report_with_leases(state, counters, BTreeMap::new())
}

/// Creates the next usage report as [`Verifier::usage_report_with_leases`] does, from the
/// [state file](crate::VerifierBuilder::state_path) alone.
///
/// # Errors
///
/// Returns the errors of that function, and an error when the file cannot be read.
pub fn usage_report_with_leases(
    state: &Path,
    counters: BTreeMap<String, Number>,
    leases: BTreeMap<String, PoolUsage>,
) -> Result<String, ReportError> {
    if !state.exists() {
        return Err(ReportError(format!("there is no state file {}", state.display())));
    }
    let store = StateStore::open(state, i64::MIN)
        .map_err(|why| ReportError(format!("the state file {} {why}", state.display())))?;
    let floor = store.kept().time_floor;
    next(&store, SystemClock.now().max(floor), Usage { counters, leases })
}

/// The usage in the time of a report.
struct Usage {
    counters: BTreeMap<String, Number>,
    leases: BTreeMap<String, PoolUsage>,
}

/// The reason why no usage report could be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportError(String);

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReportError {}

fn next(store: &StateStore, now: i64, usage: Usage) -> Result<String, ReportError> {
    let is_negative = |number: &Number| number.as_f64().is_none_or(f64::is_sign_negative);
    if let Some((name, _)) = usage.counters.iter().find(|(_, number)| is_negative(number)) {
        return Err(ReportError(format!("the counter {name:?} must not be negative")));
    }
    let is_negative = |pool: &PoolUsage| pool.peak < 0 || pool.refused < 0;
    if let Some((name, _)) = usage.leases.iter().find(|(_, pool)| is_negative(pool)) {
        return Err(ReportError(format!("the numbers of pool {name:?} must not be negative")));
    }
    let written = store.update(|record| {
        // An error here is returned below, and changes nothing.
        let report = of(record, now, usage);
        if let Ok((text, sequence, until)) = &report {
            record.report = Some(KeptReport::of(*sequence, *until, text));
        }
        Ok(report)
    });
    let (text, ..) = written.map_err(|error: VerifyError| ReportError(error.detail().into()))??;
    Ok(text)
}

/// Returns the text of the next report, its number, and the end of its time.
fn of(record: &KeptState, now: i64, usage: Usage) -> Result<(String, i64, i64), ReportError> {
    let failed = |why: &str| ReportError(why.to_owned());
    let file = record.file.as_ref().ok_or_else(|| {
        failed("there is no license to report about: import a license file first")
    })?;
    let before = record.report.as_ref();
    let since = before.map_or(file.since, |report| report.until);
    let until = now.max(since);
    let time = |seconds| -> Result<DateTime<Utc>, _> {
        DateTime::from_timestamp(seconds, 0).ok_or_else(|| failed("the clock is out of range"))
    };
    let sequence = before.map_or(0, |report| report.sequence).saturating_add(1);
    let report = UsageReport {
        kind: UsageReportKind::UsageReport,
        deployment_id: file.deployment_id,
        license_id: file.license_id,
        sequence,
        previous: before.map(|report| report.sha256.clone()),
        since: time(since)?,
        until: time(until)?,
        counters: usage.counters,
        leases: usage.leases,
        file_seq: Some(file.seq),
        status_list_iat: record.lists.values().map(|list| list.iat).max(),
        checkpoint: file.checkpoint.clone(),
        contract: Version::parse(CONTRACT_VERSION).map_err(|error| failed(&error.to_string()))?,
        extra: Map::new(),
    };
    let text = serde_json::to_string_pretty(&report).map_err(|error| failed(&error.to_string()))?;
    Ok((format!("{text}\n"), sequence, until))
}
