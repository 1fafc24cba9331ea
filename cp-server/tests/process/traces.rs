//! Traces of a server, as an OpenTelemetry collector gets them.

mod failures;
mod other;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::{Value, json};

use self::other::{Other, attribute, attributes, hex};
use super::server::{KEK, Server, TOKEN, command, folder};
use super::tls::until;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// A value that must not leave the server.
const CANARY: &str = "canary-7f3a";

/// A server whose traces go to a collector.
fn traced(folder: &Path, collector: &Other) -> Command {
    let mut command = command(folder);
    command
        .env("CP_KEY_ENCRYPTION_KEY", KEK)
        .env("CP_WEBHOOK_ALLOW_LOOPBACK", "true")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    command
}

/// Sends a request with a `traceparent`. Returns the status and the ID of the request.
fn ask(
    server: &Server,
    method: &str,
    path: &str,
    parent: Option<&str>,
    body: Value,
) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut request = axum::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", server.address))
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .header("user-agent", format!("agent-{CANARY}"))
        .header("tracestate", format!("vendor={CANARY}"))
        .header("idempotency-key", format!("key-{CANARY}"));
    if let Some(parent) = parent {
        request = request.header("traceparent", parent);
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = agent.run(request.body(body).unwrap()).unwrap();
    let id = answer.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    (answer.status().as_u16(), id)
}

fn sampled() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// The line of the log about a request.
fn line(server: &Server, id: &str) -> String {
    let find =
        || server.said.lock().unwrap().lines().find(|line| line.contains(id)).map(str::to_owned);
    until(|| find().is_some(), "the line of the request");
    find().unwrap()
}

#[test]
fn trace_of_a_change_has_the_steps_and_statements_of_its_request() {
    let (folder, collector) = (folder(), Other::that_answers());
    let mut command = traced(folder.path(), &collector);
    command
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of-the-collector,x-tenant=acme")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        .env("OTEL_SERVICE_NAME", "licenses");
    let server = Server::run(command.arg("serve"));
    let organization = json!({"name": format!("Acme {CANARY}"), "external_id": CANARY});
    let (status, id) =
        ask(&server, "POST", "/api/v1/organizations", Some(&sampled()), organization);
    assert_eq!(status, 201);
    let spans = collector.trace(TRACE, "POST /api/v1/organizations");

    let root = spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    assert_eq!(
        (root.name.as_str(), hex(&root.parent_span_id).as_str()),
        ("POST /api/v1/organizations", PARENT)
    );
    assert_eq!(
        json!(attributes(&root.attributes)),
        json!({
            "http.request.method": "POST",
            "http.route": "/api/v1/organizations",
            "http.response.status_code": 201,
            "url.path": "/api/v1/organizations",
            "url.scheme": "http",
            "network.protocol.version": "1.1",
            "cp.request_id": id,
        })
    );
    assert_eq!(root.trace_state, "");
    let steps: Vec<_> = spans.iter().filter(|span| span.parent_span_id == root.span_id).collect();
    let names: Vec<_> = steps.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "authenticate",
            "charge",
            "read body",
            "begin",
            "authorize",
            "find answer",
            "run",
            "audit",
            "keep answer",
            "commit",
            "render"
        ]
    );
    let run = steps.iter().find(|span| span.name == "run").unwrap();
    assert_eq!(attribute(run, "cp.operation"), "organizations.create");
    let statements: Vec<_> = spans.iter().filter(|span| span.kind() == SpanKind::Client).collect();
    let parents: BTreeSet<_> = steps.iter().map(|step| &step.span_id).collect();
    for statement in &statements {
        assert!(parents.contains(&statement.parent_span_id), "{statement:?}");
        let known = attributes(&statement.attributes);
        let names: Vec<_> = known.keys().map(String::as_str).collect();
        assert_eq!(names, ["db.operation.name", "db.query.text", "db.system.name"]);
        assert_eq!(known["db.system.name"], "sqlite");
        assert_eq!(known["db.operation.name"], statement.name);
        let (start, end) = (statement.start_time_unix_nano, statement.end_time_unix_nano);
        assert!(start >= root.start_time_unix_nano && end <= root.end_time_unix_nano);
    }
    let insert = statements.iter().find(|span| {
        let text = attribute(span, "db.query.text");
        text.as_str().unwrap().starts_with("INSERT INTO organizations (")
    });
    let insert = insert.expect("the statement of the change");
    assert_eq!((&insert.parent_span_id, insert.name.as_str()), (&run.span_id, "INSERT"));
    assert!(attribute(insert, "db.query.text").as_str().unwrap().contains("($1, "));

    // The log has the same IDs.
    let expected = format!(" trace_id={TRACE} span_id={}", hex(&root.span_id));
    assert!(line(&server, &id).ends_with(&expected), "{}", line(&server, &id));
    // The collector gets the headers and the resource of the settings.
    let received = collector.received.lock().unwrap();
    for request in &*received {
        assert_eq!(request.headers["authorization"], "Bearer of-the-collector");
        assert_eq!(request.headers["x-tenant"], "acme");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert!(!request.headers.contains_key("traceparent"), "the export has no trace");
        let batch = ExportTraceServiceRequest::decode(&*request.body).unwrap();
        for resource in batch.resource_spans {
            assert_eq!(
                json!(attributes(&resource.resource.unwrap().attributes)),
                json!({
                    "service.name": "licenses",
                    "service.version": env!("CARGO_PKG_VERSION"),
                    "deployment.environment.name": "test",
                })
            );
        }
    }
}

#[test]
fn trace_contains_no_value_of_a_request() {
    let (folder, collector) = (folder(), Other::that_answers());
    let server = Server::run(traced(folder.path(), &collector).arg("serve"));
    let parent = sampled();
    let ask = |method, path: &str, body| ask(&server, method, path, Some(&parent), body).0;
    let organization = json!({"name": format!("Acme {CANARY}"), "external_id": CANARY});
    assert_eq!(ask("POST", "/api/v1/organizations", organization), 201);
    assert_eq!(
        ask("GET", &format!("/api/v1/organizations?external_id={CANARY}"), json!(null)),
        200
    );
    assert_eq!(ask("GET", &format!("/{CANARY}"), json!(null)), 404);
    assert_eq!(ask("POST", "/api/v1/plans", json!({"code": CANARY, "seats": CANARY})), 422);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask("GET", path, json!(null)), 200, "{path}");
    }
    assert_eq!(ask("GET", "/api/v1/roles", json!(null)), 200);
    let spans = collector.trace(TRACE, "GET /api/v1/roles");

    let requests: Vec<_> = spans.iter().filter(|span| span.kind() == SpanKind::Server).collect();
    let names: Vec<_> = requests.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "POST /api/v1/organizations",
            "GET /api/v1/organizations",
            "GET",
            "POST /api/v1/plans",
            "GET /api/v1/roles"
        ]
    );
    let refused = spans.iter().find(|span| attribute(span, "error.type") == "invalid");
    if let Some(refused) = refused {
        assert_ne!(refused.status.as_ref().unwrap().code(), StatusCode::Error, "{refused:?}");
    }
    for secret in [CANARY, TOKEN, KEK] {
        for request in &*collector.received.lock().unwrap() {
            let found = request.body.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in {}", String::from_utf8_lossy(&request.body));
        }
    }
    for request in requests {
        let known = attributes(&request.attributes);
        assert!(known.values().all(|value| value != "127.0.0.1"), "{known:?}");
    }
}

#[test]
fn delivery_of_a_webhook_has_a_trace_that_the_receiver_can_continue() {
    let (folder, collector) = (folder(), Other::that_answers());
    let receiver = Other::that_answers();
    let server = Server::run(traced(folder.path(), &collector).arg("serve"));
    let url = format!("{}/hooks/{CANARY}", receiver.url());
    server.post("/webhooks", json!({"url": url, "types": ["organizations.create"]}));
    let parent = sampled();
    ask(&server, "POST", "/api/v1/organizations", Some(&parent), json!({"name": "Acme"}));
    until(|| receiver.count() == 1, "the message");
    let (header, event) = {
        let received = receiver.received.lock().unwrap();
        let text = |name: &str| received[0].headers[name].to_str().unwrap().to_owned();
        assert!(!received[0].headers.contains_key("tracestate"));
        (text("traceparent"), text("webhook-id"))
    };
    let fields: Vec<_> = header.split('-').collect();
    let &[version, trace, span, flags] = &*fields else { panic!("{header}") };
    assert_eq!((version, flags), ("00", "01"));
    assert_ne!(trace, TRACE, "an event outlives its request");

    let spans = collector.trace(trace, "webhooks.deliver");
    assert_eq!(spans.len(), 2, "{spans:?}");
    let (own, sent) = (&spans[0], &spans[1]);
    assert_eq!((own.name.as_str(), own.parent_span_id.len()), ("webhooks.deliver", 0));
    assert_eq!(attribute(own, "cp.event.id"), event);
    assert_eq!((sent.name.as_str(), sent.kind()), ("POST", SpanKind::Client));
    assert_eq!((hex(&sent.span_id).as_str(), &sent.parent_span_id), (span, &own.span_id));
    assert_eq!(
        json!(attributes(&sent.attributes)),
        json!({
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "server.address": "127.0.0.1",
            "server.port": receiver.address.port(),
            "url.scheme": "http",
        })
    );
}

#[test]
fn request_with_a_parent_follows_its_decision() {
    let (folder, collector) = (folder(), Other::that_answers());
    let receiver = Other::that_answers();
    let mut command = traced(folder.path(), &collector);
    let server = Server::run(command.env("OTEL_TRACES_SAMPLER_ARG", "0").arg("serve"));
    server.post("/webhooks", json!({"url": receiver.url(), "types": ["organizations.create"]}));
    server.post("/organizations", json!({"name": "Acme"}));
    until(|| receiver.count() == 1, "the message");
    let header = receiver.received.lock().unwrap()[0].headers["traceparent"].clone();
    assert!(header.to_str().unwrap().ends_with("-00"), "{header:?}");
    let other = "1".repeat(32);
    let unsampled = format!("00-{other}-{PARENT}-00");
    let (_, id) = ask(&server, "GET", "/api/v1/plans", Some(&unsampled), json!(null));
    assert!(line(&server, &id).contains(&format!("trace_id={other}")));
    ask(&server, "GET", "/api/v1/roles", Some(&sampled()), json!(null));
    collector.trace(TRACE, "GET /api/v1/roles");
    let traces: BTreeSet<_> = collector.spans().iter().map(|span| hex(&span.trace_id)).collect();
    assert_eq!(traces, BTreeSet::from([TRACE.to_owned()]));
}

#[test]
fn server_without_a_collector_records_no_trace() {
    let (folder, receiver) = (folder(), Other::that_answers());
    let mut command = command(folder.path());
    command.env("CP_WEBHOOK_ALLOW_LOOPBACK", "true").env("OTEL_TRACES_SAMPLER_ARG", "1");
    let server = Server::run(command.arg("serve"));
    server.post("/webhooks", json!({"url": receiver.url(), "types": ["organizations.create"]}));
    let organization = json!({"name": "Acme"});
    let parent = sampled();
    let (_, id) = ask(&server, "POST", "/api/v1/organizations", Some(&parent), organization);
    assert!(!line(&server, &id).contains("trace_id"), "{}", line(&server, &id));
    until(|| receiver.count() == 1, "the message");
    assert!(!receiver.received.lock().unwrap()[0].headers.contains_key("traceparent"));
}

#[test]
fn json_line_of_a_request_has_the_ids_of_its_trace() {
    let (folder, collector) = (folder(), Other::that_answers());
    let mut command = traced(folder.path(), &collector);
    let server = Server::run(command.env("CP_LOG_FORMAT", "json").arg("serve"));
    let (_, id) = ask(&server, "GET", "/api/v1/roles", Some(&sampled()), json!(null));
    let said: Value = serde_json::from_str(&line(&server, &id)).unwrap();
    assert_eq!((&said["request_id"], &said["trace_id"]), (&json!(id), &json!(TRACE)));
    let spans = collector.trace(TRACE, "GET /api/v1/roles");
    let root = spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    assert_eq!(said["span_id"], hex(&root.span_id));
}
