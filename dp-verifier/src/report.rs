//! Usage reports: files with the usage of a data plane without a network, for its vendor.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::{fmt, io};

use chrono::{DateTime, Utc};
use cp_contracts::{CONTRACT_VERSION, PoolUsage, UsageReport, UsageReportKind};
use semver::Version;
use serde_json::{Map, Number};

use crate::state_file::{KeptReport, KeptState, StateStore};
use crate::{Clock, SystemClock, Verifier, VerifyError, files};

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
        next(lists.floor.store(), now, Usage { counters, leases }, |_| Ok(()))
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
    of_state(state, Usage { counters, leases }, |_| Ok(()))
}

/// Writes the next usage report to a new file, as [`usage_report_with_leases`] creates it.
///
/// The report uses up a number only when its whole text is on the disk. A full disk costs no
/// number and leaves no file. A crash may leave the text beside the file, in `<output>.new`.
///
/// # Errors
///
/// Returns the errors of [`usage_report_with_leases`], and an error when the file exists already or
/// cannot be written.
pub fn write_usage_report(
    state: &Path,
    output: &Path,
    counters: BTreeMap<String, Number>,
    leases: BTreeMap<String, PoolUsage>,
) -> Result<(), ReportError> {
    let new = files::beside(output, ".new");
    let created = |path: &Path, text: &str| {
        files::create(&mut OpenOptions::new(), path, text.as_bytes()).map_err(|error| {
            let path = path.display();
            ReportError(match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    format!(
                        "{path} exists already, and no report is overwritten: name another file"
                    )
                }
                _ => format!("the report {path} cannot be written: {error}"),
            })
        })
    };
    // The empty file reserves the name.
    created(output, "")?;
    let (usage, is_kept) = (Usage { counters, leases }, Cell::new(false));
    let made = of_state(state, usage, |text| {
        created(&new, text)?;
        is_kept.set(true);
        Ok(())
    });
    if let Err(error) = made {
        drop(fs::remove_file(output));
        if is_kept.get() {
            drop(fs::remove_file(&new));
        }
        return Err(error);
    }
    fs::rename(&new, output).map_err(|error| {
        drop(fs::remove_file(output));
        ReportError(format!("the report is in {}, which cannot be renamed: {error}", new.display()))
    })
}

/// Creates the next usage report from the state file alone. `keep` stores its text.
fn of_state(
    state: &Path,
    usage: Usage,
    keep: impl FnOnce(&str) -> Result<(), ReportError>,
) -> Result<String, ReportError> {
    if !state.exists() {
        return Err(ReportError(format!("there is no state file {}", state.display())));
    }
    let store = StateStore::open(state, i64::MIN)
        .map_err(|why| ReportError(format!("the state file {} {why}", state.display())))?;
    let floor = store.kept().time_floor;
    next(&store, SystemClock.now().max(floor), usage, keep)
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

/// Creates the next usage report. `keep` stores its text before the state file stores its number.
fn next(
    store: &StateStore,
    now: i64,
    usage: Usage,
    keep: impl FnOnce(&str) -> Result<(), ReportError>,
) -> Result<String, ReportError> {
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
        let report = of(record, now, usage).and_then(|report| keep(&report.0).map(|()| report));
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
