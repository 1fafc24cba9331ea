//! The other servers of a trace: a collector, and the receiver of a webhook.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};

use crate::tls::until;

/// A request that another server got.
pub struct Received {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Another server: a collector, or the receiver of a webhook.
#[derive(Clone)]
pub struct Other {
    pub address: SocketAddr,
    pub received: Arc<Mutex<Vec<Received>>>,
}

impl Other {
    pub fn that_answers() -> Self {
        Self::start(true)
    }

    /// A server that accepts each connection and never answers.
    pub fn that_is_silent() -> Self {
        Self::start(false)
    }

    fn start(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = Self { address: listener.local_addr().unwrap(), received: Arc::default() };
        let received = Arc::clone(&other.received);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = receive(&stream) else { continue };
                received.lock().unwrap().push(request);
                if answers {
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    drop(stream.write_all(answer));
                } else {
                    open.push(stream);
                }
            }
        });
        other
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// All spans that a collector got.
    pub fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let batches = received.iter().map(|request| {
            ExportTraceServiceRequest::decode(&*request.body).expect("a batch of spans")
        });
        let resources = batches.flat_map(|batch| batch.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Waits for the span with this name in a trace, and returns the trace's spans by their start.
    pub fn trace(&self, trace: &str, name: &str) -> Vec<Span> {
        let found = || -> Vec<Span> {
            self.spans().into_iter().filter(|span| hex(&span.trace_id) == trace).collect()
        };
        until(|| found().iter().any(|span| span.name == name), name);
        let mut spans = found();
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }
}

pub fn receive(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let (mut headers, mut length) = (HeaderMap::new(), 0);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let name: HeaderName = name.parse().unwrap();
        if name == "content-length" {
            length = value.parse().unwrap();
        }
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { headers, body })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn attributes(of: &[KeyValue]) -> BTreeMap<String, Value> {
    let value = |one: &KeyValue| match one.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        other => panic!("{}: {other:?}", one.key),
    };
    of.iter().map(|one| (one.key.clone(), value(one))).collect()
}

pub fn attribute(span: &Span, name: &str) -> Value {
    attributes(&span.attributes).remove(name).unwrap_or_default()
}
