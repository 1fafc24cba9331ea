//! The span of a request, by the semantic conventions of OpenTelemetry for HTTP servers.
//!
//! # Design
//! The client's address and its program belong to a person, and a query may contain a secret: no span has
//! them. A path is part of the span only where a route matches it. Any other path may contain anything.

use axum::extract::{MatchedPath, Request};
use axum::http::{StatusCode, Version};

use crate::kernel::traces::Span;

/// The paths that a monitor asks every few seconds. Their spans would hide all others.
const WITHOUT: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Begins the span of a request.
pub(super) fn begin(method: &'static str, request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    match route.is_some_and(|route| WITHOUT.contains(&route)) {
        true => Span::default(),
        false => Span::request(method, route, request.headers()),
    }
}

/// What is known of an answered request.
pub(super) struct Answered<'r> {
    pub(super) method: &'static str,
    /// The route, or the name of the page; `None` when no route matches.
    pub(super) route: Option<&'r str>,
    pub(super) path: &'r str,
    pub(super) version: Version,
    pub(super) is_https: bool,
    /// The ID of the request.
    pub(super) id: &'r str,
}

impl Answered<'_> {
    /// Sets the attributes of the span.
    pub(super) fn record(&self, span: &Span, status: StatusCode) {
        if !span.is_recorded() {
            return;
        }
        if let Some(route) = self.route {
            span.rename(self.method, route);
            span.set("http.route", route.to_owned());
            span.set("url.path", self.path.to_owned());
        }
        span.set("url.scheme", if self.is_https { "https" } else { "http" });
        span.set(
            "network.protocol.version",
            match self.version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            },
        );
        span.set("cp.request_id", self.id.to_owned());
        span.set_number("http.response.status_code", status.as_u16().into());
        if status.is_server_error() {
            span.fail(status.as_str().to_owned(), true);
        }
    }
}
