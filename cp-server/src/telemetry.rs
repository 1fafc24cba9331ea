//! Logs and metrics: what the operator sees of a running server.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::kernel::db::WITHOUT_STATEMENTS;

/// Sends log lines to standard error; standard output is for what a command prints.
pub fn log(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(quiet(filter))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Somebody who embeds the library may have set up logging first; theirs is kept.
    let _ = set;
    Ok(())
}

/// The filter without the driver's own lines. One that asks for details, or names the driver, has them.
fn quiet(filter: &str) -> String {
    let has_details = ["sqlx", "debug", "trace"].iter().any(|part| filter.contains(part));
    if has_details { filter.to_owned() } else { format!("{filter},{WITHOUT_STATEMENTS}") }
}

/// The process's metrics in the Prometheus text format.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
            .map(PrometheusBuilder::build_recorder)
            .expect("the buckets are not empty");
        let handle = recorder.handle();
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

/// After how many answers their times are added up.
const ADDED_UP_EVERY: u64 = 4096;

/// Counts an answer, and the time it took.
pub fn answered(method: String, path: String, status: StatusCode, elapsed: Duration) {
    static ANSWERED: AtomicU64 = AtomicU64::new(0);
    let labels = [("method", method), ("path", path), ("status", status.as_str().to_owned())];
    metrics::counter!("cp_http_requests_total", &labels).increment(1);
    metrics::histogram!("cp_http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
    // The exporter keeps each time until it is asked for its text, and nobody may ever ask.
    if ANSWERED.fetch_add(1, Ordering::Relaxed) % ADDED_UP_EVERY == ADDED_UP_EVERY - 1 {
        metrics().run_upkeep();
    }
}
