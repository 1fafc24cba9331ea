//! Logs and metrics of a running server.

pub mod families;
pub mod lines;
mod process;
mod trace_ids;
pub mod traces;

use clap::ValueEnum;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt};

use cp_contracts::ProblemCode;

use crate::kernel::db::WITHOUT_STATEMENTS;
use crate::kernel::error::Error;

use trace_ids::WithIds;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Sends log lines to standard error; standard output carries the output of commands.
pub fn log(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(quiet(filter))?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_writer(lines::writer);
    let set = match format {
        LogFormat::Text => {
            let format = fmt::format().with_target(false).with_ansi(is_terminal);
            lines.event_format(WithIds { format, is_json: false }).try_init()
        }
        LogFormat::Json => {
            let format = fmt::format().json().flatten_event(true);
            lines.json().event_format(WithIds { format, is_json: true }).try_init()
        }
    };
    // A program that embeds the library may have set up logging first; its setup stays.
    let _ = set;
    Ok(())
}

/// Adds a filter for the driver's own lines, unless the filter requests details of everything or
/// names the driver.
fn quiet(filter: &str) -> String {
    let requests_details = |part: &str| {
        let part = part.trim().to_ascii_lowercase();
        part.starts_with("sqlx") || part == "debug" || part == "trace"
    };
    let has_details = filter.split(',').any(requests_details);
    if has_details { filter.to_owned() } else { format!("{filter},{WITHOUT_STATEMENTS}") }
}

/// Returns the recorder of the metrics, which the first call installs.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
            .map(PrometheusBuilder::build_recorder)
            .expect("the buckets are not empty");
        let handle = recorder.handle();
        let _ = metrics::set_global_recorder(recorder);
        families::describe();
        handle
    })
}

/// Returns the metrics in the Prometheus text format.
pub fn render() -> String {
    let mut text = metrics().render();
    process::render(&mut text);
    text
}

/// The number of responses after which their durations are aggregated.
const ADDED_UP_EVERY: u64 = 4096;

/// The metrics of the responses with the same labels.
struct Answers {
    method: &'static str,
    status: StatusCode,
    count: Counter,
    durations: Histogram,
}

impl Answers {
    fn new(method: &'static str, path: &str, status: StatusCode) -> Self {
        let labels = [
            ("method", method.to_owned()),
            ("path", path.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        let count = metrics::counter!("cp_http_requests_total", &labels);
        let durations = metrics::histogram!("cp_http_request_duration_seconds", &labels);
        Self { method, status, count, durations }
    }
}

thread_local! {
    /// By path: the recorder's own look-up costs more than the rest of a cached response.
    static ANSWERS: RefCell<HashMap<String, Vec<Answers>>> = RefCell::default();
}

/// Counts a response and its duration.
pub fn answered(method: &'static str, path: &str, status: StatusCode, elapsed: Duration) {
    static ANSWERED: AtomicU64 = AtomicU64::new(0);
    ANSWERS.with_borrow_mut(|answers| {
        let known = match answers.get_mut(path) {
            Some(known) => known,
            None => answers.entry(path.to_owned()).or_default(),
        };
        let same = |one: &Answers| one.method == method && one.status == status;
        let at = known.iter().position(same).unwrap_or_else(|| {
            known.push(Answers::new(method, path, status));
            known.len() - 1
        });
        known[at].count.increment(1);
        known[at].durations.record(elapsed.as_secs_f64());
    });
    // The exporter keeps each duration until a scrape, and no scrape may ever come.
    if ANSWERED.fetch_add(1, Ordering::Relaxed) % ADDED_UP_EVERY == ADDED_UP_EVERY - 1 {
        metrics().run_upkeep();
    }
}

/// Counts a refusal with the status 429.
pub fn refused_by_limit(error: &Error) {
    let kind = match error.code() {
        ProblemCode::QuotaExceeded => Some("quota"),
        ProblemCode::LimitExceeded => Some("usage_limit"),
        _ => families::LIMITS.into_iter().find(|known| Some(*known) == error.limit()),
    };
    metrics::counter!("cp_refused_by_limit_total", "kind" => kind.unwrap_or("other")).increment(1);
}
