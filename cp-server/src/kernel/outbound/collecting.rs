//! Requests to the operator's collector of traces.
//!
//! # Design
//! The operator chose the server, so its address may be private, and plain http is allowed: collectors
//! usually run on the same machine or in the same network. The other rules are those of all requests. A
//! request blocks, because the exporter has a thread of its own, which also works while the runtime ends. It
//! has no span: it would cause the next one.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use ureq::tls::Certificate;
use url::Url;

use super::{LARGEST, client};

/// The time for one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client for the collector.
pub struct Collector {
    url: Url,
    headers: HeaderMap,
    agent: ureq::Agent,
}

/// A batch that the collector did not accept.
#[derive(Debug)]
pub struct Unaccepted {
    /// The reason, described for an operator.
    pub why: String,
    /// Whether another attempt may succeed.
    pub is_temporary: bool,
}

impl Collector {
    pub fn new(
        url: Url,
        mut headers: HeaderMap,
        authorities: Option<&Arc<Vec<Certificate<'static>>>>,
    ) -> Self {
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, protobuf);
        let config = client(authorities.cloned()).timeout_global(Some(PATIENCE));
        let config = config.max_idle_connections(0).build();
        let agent = ureq::Agent::new_with_config(config);
        Self { url, headers, agent }
    }

    /// Sends a batch.
    pub fn send(&self, batch: &[u8]) -> Result<(), Unaccepted> {
        let mut request = Request::new(batch);
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        let failed = |why: String| Unaccepted { why, is_temporary: true };
        let uri = self.url.as_str().parse::<Uri>();
        *request.uri_mut() = uri.map_err(|_| failed(format!("{} is not a URL", self.url)))?;
        let answer = self.agent.run(request);
        let mut answer = answer.map_err(|error| failed(error.to_string()))?;
        let status = answer.status();
        // The rest of an answer changes nothing.
        let _ = answer.body_mut().with_config().limit(LARGEST).read_to_vec();
        match status.as_u16() {
            200..=299 => Ok(()),
            // OTLP 1.9, section "Failures": only these answers ask for another attempt.
            429 | 502 | 503 | 504 => Err(failed(format!("it answered {status}"))),
            _ => Err(Unaccepted { why: format!("it answered {status}"), is_temporary: false }),
        }
    }
}
