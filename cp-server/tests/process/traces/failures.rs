//! Collectors that fail.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::other::{Other, receive};
use super::{CANARY, ask, sampled, traced};
use crate::cluster::reserved_address;
use crate::server::{Server, command, folder, refusal};
use crate::tls::until;

/// Ends the server, and returns how long that took.
fn ended(server: &mut Server) -> Duration {
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    began.elapsed()
}

#[test]
fn last_spans_are_sent_at_the_end() {
    let (folder, collector) = (folder(), Other::that_answers());
    let mut server = Server::run(traced(folder.path(), &collector).arg("serve"));
    ask(&server, "GET", "/api/v1/roles", Some(&sampled()), json!(null));
    ended(&mut server);
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.name == "GET /api/v1/roles"), "{spans:?}");
}

#[test]
fn collector_that_is_silent_delays_neither_requests_nor_the_end() {
    let (folder, collector) = (folder(), Other::that_is_silent());
    let mut server = Server::run(traced(folder.path(), &collector).arg("serve"));
    ask(&server, "GET", "/api/v1/roles", None, json!(null));
    until(|| collector.count() == 1, "the first batch");
    for n in 0..20 {
        let began = Instant::now();
        let name = json!({"name": format!("Acme {n}")});
        server.post("/organizations", name);
        assert!(began.elapsed() < Duration::from_secs(5), "{n}");
    }
    let took = ended(&mut server);
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_eq!(collector.count(), 1, "one request at a time");
    let said = server.said.lock().unwrap().clone();
    assert!(said.contains("the collector did not answer in time"), "{said}");
}

#[test]
fn collector_that_is_not_there_causes_one_warning() {
    let folder = folder();
    let address = reserved_address();
    let nowhere = Other { address, received: Arc::default() };
    let mut server = Server::run(traced(folder.path(), &nowhere).arg("serve"));
    let warnings = |server: &Server| {
        let said = server.said.lock().unwrap();
        said.lines().filter(|line| line.contains("traces are not sent")).count()
    };
    ask(&server, "GET", "/api/v1/roles", None, json!(null));
    until(|| warnings(&server) == 1, "the warning");
    // Long enough for another batch and another attempt.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        server.post(
            "/organizations",
            json!({"name": format!("Acme {}", began.elapsed().as_micros())}),
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(warnings(&server), 1);
    let took = ended(&mut server);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(warnings(&server), 1);
}

#[test]
fn collector_that_returns_gets_the_batch_that_waited() {
    let folder = folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let nowhere = Other { address, received: Arc::default() };
    let server = Server::run(traced(folder.path(), &nowhere).arg("serve"));
    // The first attempt gets no answer of HTTP, the second one is accepted.
    ask(&server, "GET", "/api/v1/roles", Some(&sampled()), json!(null));
    let (first, _) = listener.accept().unwrap();
    receive(&first).unwrap();
    drop(first);
    let (mut second, _) = listener.accept().unwrap();
    let batch = receive(&second).unwrap();
    second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    nowhere.received.lock().unwrap().push(batch);
    assert!(nowhere.spans().iter().any(|span| span.name == "GET /api/v1/roles"));
    let said = || server.said.lock().unwrap().contains("traces are sent to the collector again");
    until(said, "the line of the return");
    let (_, metrics) = server.call("GET", "/metrics", None, "x");
    let sent = metrics
        .as_str()
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("cp_trace_spans_sent_total ")?.parse::<u64>().ok());
    assert!(sent.is_some_and(|sent| sent > 0), "{sent:?}");
}

#[test]
fn headers_of_the_collector_that_are_malformed_are_refused_without_a_quote() {
    let folder = folder();
    for headers in [CANARY.to_owned(), format!("{CANARY}(=x"), format!("x={CANARY}%0a")] {
        let mut command = command(folder.path());
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
            .env("OTEL_EXPORTER_OTLP_HEADERS", &headers);
        let said = refusal(&mut command);
        assert!(said.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{said}");
        assert!(!said.contains(CANARY), "{said}");
    }
}
