//! The closed list of the metrics, with the help of each family.

/// A family of metrics.
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        /// All families, in the order of the documentation.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        },)+];
    };
}

families! {
    Counter "cp_http_requests_total" ["method", "path", "status"]
        "Answered requests. `path` is the template, such as `/api/v1/licenses/{id}`.";
    Histogram "cp_http_request_duration_seconds" ["method", "path", "status"]
        "The time until the answer began.";
    Gauge "cp_http_connections" [] "Open connections.";
    Counter "cp_http_connections_refused_total" []
        "Connections that the server closed because their address had too many.";
    Counter "cp_refused_by_limit_total" ["kind"]
        "Answers with the status 429, by the limit that was exceeded.";
    Counter "cp_tokens_issued_total" [] "License tokens that this replica issued.";
    Counter "cp_tokens_revoked_total" [] "License tokens that this replica revoked.";
    Gauge "cp_signing_key_age_seconds" [] "The time since the active signing key became active.";
    Gauge "cp_signing_key_next_rotation_timestamp_seconds" []
        "The instant at which the next signing key becomes active. Absent without automatic rotation.";
    Gauge "cp_status_list_ahead_seconds" []
        "By how many seconds the newest status list is ahead of the clock. 0 is normal.";
    Gauge "cp_log_entries" [] "Entries of the audit log.";
    Gauge "cp_log_checkpoint_entries" []
        "Entries of the audit log that the newest signed checkpoint covers.";
    Gauge "cp_log_waiting_seconds" []
        "The age of the oldest event that waits for its position in the audit log.";
    Gauge "cp_last_backup_timestamp_seconds" []
        "The instant of the newest backup that `cp-server backup` made of this database. Absent before the first.";
    Gauge "cp_database_up" []
        "Whether the database answered this replica's last query for these metrics: 1 or 0.";
    Gauge "cp_database_connections" ["pool", "state"] "Open connections to the database.";
    Gauge "cp_database_connections_max" ["pool"] "The maximum number of connections of the pool.";
    Counter "cp_webhook_attempts_total" ["outcome"]
        "Requests of this replica to webhooks: `delivered`, or the error.";
    Gauge "cp_webhook_pending" [] "Deliveries of webhooks that wait for an attempt.";
    Gauge "cp_webhook_lag_seconds" []
        "How long the oldest attempt has been due that no replica has begun. 0 is normal.";
    Counter "cp_trace_spans_sent_total" []
        "Spans that the collector of traces accepted.";
    Counter "cp_trace_spans_lost_total" ["reason"]
        "Spans that the collector of traces did not get, by the reason.";
    Counter "cp_job_runs_total" ["job"] "Runs of a periodic job.";
    Counter "cp_job_failures_total" ["job"] "Runs of a periodic job that failed.";
    Gauge "cp_build_info" ["version", "database"] "The version of this server and its database. Always 1.";
    Counter "process_cpu_seconds_total" [] "The CPU time of the process, of its users and of the system.";
    Gauge "process_resident_memory_bytes" [] "The memory of the process in RAM.";
    Gauge "process_open_fds" [] "Open file descriptors of the process.";
    Gauge "process_max_fds" [] "The maximum number of open file descriptors of the process.";
    Gauge "process_start_time_seconds" [] "The instant at which the process started.";
}

/// The limits whose refusals are counted: the rate limits, the tokens that a license has a day, the
/// addresses that an organization asks a day, the plan's requests, quotas, limits of usage, and the number of exports and bulk requests at once.
pub const LIMITS: [&str; 15] = [
    "address",
    "attempts",
    "credential",
    "organization",
    "signing",
    "keys",
    "tokens",
    "license_key",
    "license_tokens",
    "webhook_confirmations",
    "requests_per_minute",
    "quota",
    "usage_limit",
    "concurrent",
    "other",
];

/// The jobs whose runs are counted.
pub const JOBS: [&str; 12] = [
    "keys",
    "rotation",
    "status_lists",
    "cleanup",
    "leases",
    "lease_hours",
    "budget_cycles",
    "notices",
    "checkpoint",
    "metrics",
    "integration",
    "webhooks",
];

/// The reasons for which spans are lost: too many waited for the collector, it refused them, or the
/// process ended before they were sent.
pub const LOST: [&str; 3] = ["full", "refused", "unsent"];

/// The counter of the CPU time, which the recorder of the other metrics does not have.
pub(super) const CPU: &str = "process_cpu_seconds_total";

/// Passes the help of each family to the recorder of the metrics.
pub(super) fn describe() {
    for family in FAMILIES {
        match family.kind {
            Kind::Counter => metrics::describe_counter!(family.name, family.help),
            Kind::Gauge => metrics::describe_gauge!(family.name, family.help),
            Kind::Histogram => metrics::describe_histogram!(family.name, family.help),
        }
    }
    // A counter that is 0 from the start lets `increase` see its first step.
    for family in FAMILIES.iter().filter(|family| family.kind == Kind::Counter) {
        if family.labels.is_empty() && family.name != CPU {
            metrics::counter!(family.name).increment(0);
        }
    }
    for kind in LIMITS {
        metrics::counter!("cp_refused_by_limit_total", "kind" => kind).increment(0);
    }
    for reason in LOST {
        metrics::counter!("cp_trace_spans_lost_total", "reason" => reason).increment(0);
    }
}
