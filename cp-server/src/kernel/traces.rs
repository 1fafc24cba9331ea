//! Traces: what a request does and how long each part takes, as spans of OpenTelemetry.
//!
//! # Design
//! A span contains names that are written in the code, and the text of statements without their values. A
//! query, a header, a body, an address of a person and the message of an error never enter a span. So a
//! collector may be another company's.
//!
//! Without an exporter no span is created: each place costs one look at a cell. A step or statement
//! outside a request has no span, because the jobs of every second would hide the requests.
//!
//! Rejected: the spans of `tracing`. Its bridge exports log lines, with their addresses and messages, as
//! events of spans. Its filters would also cost each log line.

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod recorded;

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pin_project_lite::pin_project;
use url::Url;

#[cfg(not(feature = "otlp"))]
use self::absent as backend;
#[cfg(feature = "otlp")]
use self::recorded as backend;

#[cfg(feature = "otlp")]
pub use self::recorded::install;

/// Whether this server was built to export traces.
pub const IS_BUILT: bool = cfg!(feature = "otlp");

/// The header of W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The longest statement of a span, in bytes. The placeholders of a large one repeat themselves.
const LONGEST: usize = 2048;

/// A part of a trace, if it is recorded. It ends when its last clone is dropped.
#[derive(Clone, Default)]
pub struct Span(Option<backend::Active>);

impl Span {
    /// Begins the span of a request. A `traceparent` of the client names the trace and decides whether it
    /// is recorded.
    pub fn request(method: &'static str, route: Option<&str>, headers: &HeaderMap) -> Self {
        if !backend::is_on() {
            return Self(None);
        }
        let mut given = headers.get_all(TRACEPARENT).iter();
        // Of two headers, neither counts.
        let parent = match (given.next(), given.next()) {
            (Some(only), None) => only.to_str().ok(),
            _ => None,
        };
        let span = Self(backend::request(named(method, route), parent));
        span.set("http.request.method", method);
        span
    }

    /// Begins a step of the current request.
    pub fn step(name: &'static str) -> Self {
        Self(backend::child(name))
    }

    /// Begins the span of a statement of the current request.
    pub fn statement(database: &'static str, text: &str) -> Self {
        if !backend::is_in_trace() {
            return Self(None);
        }
        let verb = text.split_whitespace().next().unwrap_or("statement").to_ascii_uppercase();
        let span = Self(backend::client(verb.clone()));
        span.set("db.system.name", database);
        span.set("db.operation.name", verb);
        span.set("db.query.text", shortened(text));
        span
    }

    /// Begins work that no request waits for, in a trace of its own.
    pub fn own(name: &'static str) -> Self {
        Self(backend::root(name))
    }

    /// Begins a request to another server, in the current trace or in one of its own. The path may be a
    /// secret of the receiver, so only the server is named.
    pub fn outgoing(method: &str, url: &str) -> Self {
        if !backend::is_on() {
            return Self(None);
        }
        let span = Self(backend::client(method.to_owned()));
        span.set("http.request.method", method.to_owned());
        if let Ok(url) = Url::parse(url) {
            span.set("url.scheme", url.scheme().to_owned());
            span.set("server.address", url.host_str().unwrap_or_default().to_owned());
            span.set_number("server.port", url.port_or_known_default().unwrap_or(0).into());
        }
        span
    }

    /// Returns the span of the running work, for work that moves to another task.
    pub fn current() -> Self {
        Self(backend::current())
    }

    /// Whether values of this span are sent.
    pub fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(backend::is_recorded)
    }

    /// Names a span of a request after its route.
    pub fn rename(&self, method: &'static str, route: &str) {
        if let Some(active) = &self.0 {
            backend::rename(active, named(method, Some(route)));
        }
    }

    /// Sets an attribute.
    pub fn set(&self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        if let Some(active) = &self.0 {
            backend::set(active, name, value.into());
        }
    }

    /// Sets an attribute that is a number.
    pub fn set_number(&self, name: &'static str, value: i64) {
        if let Some(active) = &self.0 {
            backend::set_number(active, name, value);
        }
    }

    /// Records that the work failed. `kind` is a name without values.
    pub fn fail(&self, kind: impl Into<Cow<'static, str>>, is_fault: bool) {
        if let Some(active) = &self.0 {
            backend::set(active, "error.type", kind.into());
            if is_fault {
                backend::mark_failed(active);
            }
        }
    }

    /// Records the status of another server's answer.
    pub fn answer(&self, status: StatusCode) {
        self.set_number("http.response.status_code", status.as_u16().into());
        if status.as_u16() >= 400 {
            self.fail(status.as_str().to_owned(), true);
        }
    }

    /// Adds the header that continues this trace at the receiver.
    pub fn forward(&self, headers: &mut HeaderMap) {
        let value = self.0.as_ref().and_then(backend::traceparent);
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// Runs work that does not wait within the span.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        let _entered = self.0.as_ref().map(backend::enter);
        work()
    }
}

/// Returns the IDs of the current trace and span, for a log line.
pub fn ids() -> Option<(String, String)> {
    backend::ids()
}

fn named(method: &'static str, route: Option<&str>) -> Cow<'static, str> {
    route.map_or(Cow::Borrowed(method), |route| format!("{method} {route}").into())
}

/// Returns the text in one line, without the end of a long one.
fn shortened(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(LONGEST));
    for word in text.split_whitespace() {
        if line.len() + word.len() + 1 > LONGEST {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// The kind of a failure: a name without values.
pub trait Failure {
    fn kind(&self) -> Cow<'static, str>;

    /// Whether the server is at fault, and not the caller.
    fn is_fault(&self) -> bool;
}

impl Failure for sqlx::Error {
    fn kind(&self) -> Cow<'static, str> {
        match self {
            Self::Database(refusal) => {
                refusal.code().map_or("database".into(), |code| code.into_owned().into())
            }
            Self::PoolTimedOut => "pool_timed_out".into(),
            Self::PoolClosed => "pool_closed".into(),
            Self::Io(_) => "io".into(),
            Self::RowNotFound => "row_not_found".into(),
            _ => "_OTHER".into(),
        }
    }

    fn is_fault(&self) -> bool {
        true
    }
}

pin_project! {
    /// Work within a span, which ends with it.
    pub struct Traced<F: Future> {
        span: Span,
        record: fn(&Span, &F::Output),
        #[pin]
        work: F,
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(active) = &this.span.0 else { return this.work.poll(cx) };
        let done = {
            let _entered = backend::enter(active);
            this.work.poll(cx)
        };
        if let Poll::Ready(done) = &done {
            (this.record)(this.span, done);
            this.span.0 = None;
        }
        done
    }
}

/// Runs futures within spans.
pub trait Tracing: Future + Sized {
    /// Runs this work within a span.
    fn within(self, span: Span) -> Traced<Self> {
        Traced { span, record: |_, _| {}, work: self }
    }

    /// Runs this work within a span, which records a failure.
    fn recorded<T, E: Failure>(self, span: Span) -> Traced<Self>
    where
        Self: Future<Output = Result<T, E>>,
    {
        let record = |span: &Span, done: &Result<T, E>| {
            if let Err(error) = done {
                span.fail(error.kind(), error.is_fault());
            }
        };
        Traced { span, record, work: self }
    }

    /// Runs this work as a step of the current request.
    fn step<T, E: Failure>(self, name: &'static str) -> Traced<Self>
    where
        Self: Future<Output = Result<T, E>>,
    {
        self.recorded(Span::step(name))
    }
}

impl<F: Future> Tracing for F {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_is_one_line_of_bounded_length() {
        assert_eq!(
            shortened("SELECT 1\n    FROM a\t WHERE b = $1 "),
            "SELECT 1 FROM a WHERE b = $1"
        );
        let long = format!("INSERT INTO a VALUES {}", "($1, $2), ".repeat(1000));
        let line = shortened(&long);
        assert!(line.ends_with("($1, $2), …") || line.ends_with("($1, …"), "{line}");
        assert!(line.len() <= LONGEST + " …".len(), "{}", line.len());
    }

    #[tokio::test]
    async fn span_without_an_exporter_is_absent() {
        let span = Span::request("GET", Some("/healthz"), &HeaderMap::new());
        assert!(!span.is_recorded());
        let ids = async { ids() }.within(span.clone()).await;
        assert_eq!(ids, None);
        let mut headers = HeaderMap::new();
        Span::outgoing("POST", "https://example.com").forward(&mut headers);
        span.forward(&mut headers);
        assert!(headers.is_empty());
    }
}
