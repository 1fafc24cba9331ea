//! What must not grow, measured: alone in its process.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::time::Duration;

use axum::http::StatusCode;
use cp_server::telemetry;

#[test]
fn counting_answers_takes_no_memory_that_a_scrape_would_have_to_give_back() {
    let count = |answers: usize| {
        for _ in 0..answers {
            telemetry::answered("GET", "/api/v1/me", StatusCode::OK, Duration::from_millis(1));
        }
    };
    telemetry::metrics();
    count(10_000);
    let before = resident();
    count(1_000_000);
    let grown = resident().saturating_sub(before);
    assert!(grown < 4096, "it has {grown} KiB more");
    // And none of them is lost.
    let text = telemetry::metrics().render();
    let count =
        text.lines().find(|line| line.starts_with("cp_http_request_duration_seconds_count"));
    assert!(count.unwrap().ends_with(" 1010000"), "{text}");
}

/// In KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
