//! The HTTP server around the table of operations.
//!
//! One layer handles every request: its ID, the limits on its line, headers and time, security
//! headers, its log line and its metrics. It also renders refusals of the framework as problem
//! documents. Below the layer is the table.

pub mod api_document;
mod connections;
mod docs;
pub mod examples;
mod headers;
mod io;
pub mod limits;
pub mod monitoring;
mod pace;
pub mod proxies;
pub mod schema_words;
mod spans;
mod stalls;
pub mod tls;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cp_contracts::Problem;
use futures_util::FutureExt;
use tokio::net::TcpListener;

use crate::console;
use crate::identity::settings::ConsoleSettings;
use crate::kernel::access::caller::{Peer, RequestId};
use crate::kernel::access::rate_limits::LimitHeader;
use crate::kernel::app::{App, Part};
use crate::kernel::completion::Deadline;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::raw::Raw;
use crate::kernel::http::routes::{Operations, Routes};
use crate::kernel::panics;
use crate::kernel::traces::{Span, Tracing};
use crate::licensing::keys::keyring::Keyring;
use crate::licensing::leases::skew;
use crate::licensing::status_lists::StatusLists;
use crate::lifecycle::scim;
use crate::lifecycle::scim::protocol::SCIM;
use crate::server::api_document::ApiDocument;
use crate::server::limits::Surface;
use crate::telemetry;

use connections::IsTls;
use docs::{docs, problem, problems};
use limits::framework_refusal;
use monitoring::metrics;
use spans::Answered;
use stalls::ConnectionState;
use tls::Tls;

crate::routes! {
    /// Health, metrics and documentation of the server.
    server:
    /// Checks that the process is alive; never accesses the database.
    GET "/healthz" PUBLIC => healthz, root
        returns "text/plain";
    /// Checks that the server is ready: the database, the signing key, and no shutdown.
    GET "/readyz" PUBLIC => readyz, root
        returns "text/plain";
    /// Returns metrics in the Prometheus text format.
    GET "/metrics" PUBLIC => metrics, root
        returns "text/plain";
    /// Returns the OpenAPI 3.1 document of this API.
    GET "/openapi.json" PUBLIC => openapi_document as "server.openapi", raw
        returns "application/json";
    /// Returns the API documentation for people.
    GET "/docs" PUBLIC => docs, root
        returns "text/html";
    /// Returns the list of the problem codes for people.
    GET "/problems" PUBLIC => problems, root
        returns "text/html";
    /// Returns the page of a problem code: the `type` of a problem document leads to it.
    GET "/problems/{code}" PUBLIC => problem, root
        returns "text/html";
}

/// The paths that a monitor asks every few seconds.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Serves until the signal to end, then waits for requests in flight.
pub async fn serve(
    app: App,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let surface = Surface::of(&app).clone();
    connections::serve(router(&app), surface, listener, tls, end).await
}

/// Builds the whole service, for the network and for tests.
pub fn router(app: &App) -> Router {
    around(app, Operations::of(app).build())
}

/// Builds the same service around another table.
pub fn around(app: &App, table: Routes) -> Router {
    let _ = telemetry::metrics();
    let (lines, descriptions) = (table.table.clone(), table.descriptions.clone());
    let router = table.into_router(app.clone());
    let router = match ConsoleSettings::of(app).is_enabled {
        true => console::over(app, router, &lines, descriptions),
        false => router,
    };
    router
        // One layer, not one per concern: each layer adds a boxed future to every request.
        .layer(from_fn_with_state(app.clone(), surround))
}

/// Handles the common parts of every request and response, within the span of the request.
async fn surround(State(app): State<App>, request: Request, next: Next) -> Response {
    let span = spans::begin(named(request.method()), &request);
    respond(app, request, next, span.clone()).within(span).await
}

async fn respond(app: App, mut request: Request, next: Next, span: Span) -> Response {
    let started = Instant::now();
    let id = request_id(&app, request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let limit = LimitHeader::default();
    request.extensions_mut().insert(limit.clone());
    let (peer, is_https) = origin(&app, &mut request);
    let state = request.extensions_mut().remove::<Arc<ConnectionState>>();
    let multiplexed = state.as_ref().filter(|_| request.version() == Version::HTTP_2);
    let stream = multiplexed.map(|state| state.stream());
    let version = request.version();
    let method = request.method().clone();
    let uri = request.uri().clone();
    let path = uri.path();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    // Scanners must not create a label for every path that they try.
    let label = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let time = Surface::of(&app).request_time;
    let deadline = Deadline { at: started + time, seconds: time.as_secs() };
    request.extensions_mut().insert(deadline);
    let asked = console::Asked::of(&request).filter(|_| ConsoleSettings::of(&app).is_enabled);
    let mut response = match connections::check(&request).and_then(|()| limits::check(&request)) {
        Ok(()) => answer(request, next, deadline).await,
        Err(refusal) => refusal.into_response(),
    };
    // The router refuses methods without a line, which includes OPTIONS on every path.
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        if method == Method::OPTIONS {
            response = headers::options(path);
        }
        if let Some(allow) = headers::allowed(&app, label) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let page = response.extensions().get::<console::PageName>();
    let label = page.map_or(label, |page| page.0);
    let route = (matched.is_some() || page.is_some()).then_some(label);
    let mut response = match asked {
        Some(asked) => as_page(&app, &asked, response, &id),
        None => as_problem(response, &app, path, &id),
    };
    headers::secure(response.headers_mut(), is_https);
    limit.write(response.headers_mut());
    // A client that sends a thousand requests at once, without waiting for responses, is refused
    // once.
    let is_over_rate = limit.refused_a_stranger();
    if version <= Version::HTTP_11 && is_over_rate {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::try_from(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let (status, elapsed) = (response.status().as_u16(), started.elapsed());
    let of = Answered { method: named(&method), route, path, version, is_https, id: &id };
    of.record(&span, response.status());
    let is_probe = status < 400 && PROBES.contains(&label);
    telemetry::answered(named(&method), label, response.status(), elapsed);
    // JSON has no number of 128 bits.
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let error = response.extensions().get::<Arc<Error>>();
    if let Some(error) = error.filter(|_| status == 429) {
        telemetry::refused_by_limit(error);
    }
    if let Some(error) = error.filter(|_| status >= 500) {
        tracing::error!(%method, path, status, micros, request_id = id, %error, "request failed");
    } else if let Some(peer) = peer.filter(|_| !is_probe) {
        tracing::info!(%method, path, status, micros, request_id = id, peer = %peer.0, "request");
    } else {
        // The command line calls operations in its own process, without a log reader. Successful
        // probes would fill the log.
        tracing::debug!(%method, path, status, micros, request_id = id, "call");
    }
    if let Some(state) = &state {
        state.answered();
    }
    match state {
        Some(state) if is_over_rate => state.refused_as_over_rate(),
        Some(state) if status >= 400 => state.refused(),
        _ => {}
    }
    match stream {
        Some(stream) => response.map(|body| stream.answers(body)),
        None => response,
    }
}

/// Replaces the peer by the client's address. Also returns whether the client's connection, to this
/// server or to a trusted proxy, uses TLS.
fn origin(app: &App, request: &mut Request) -> (Option<Peer>, bool) {
    let is_tls = request.extensions().get::<IsTls>().is_some_and(|tls| tls.0);
    let ours = app.settings.base_url.starts_with("https:");
    let Some(Peer(hop)) = request.extensions().get::<Peer>().copied() else {
        return (None, ours);
    };
    let proxies = &Surface::of(app).proxies;
    let is_https = ours || is_tls || proxies.is_secure(hop, request.headers());
    let peer = Peer(proxies.client(hop, request.headers()));
    request.extensions_mut().insert(peer);
    (Some(peer), is_https)
}

/// Returns the label of a method; invented methods must not create labels.
fn named(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| method == known).unwrap_or("other")
}

fn request_id(app: &App, headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let sound = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    match given.filter(sound) {
        Some(id) => id.to_owned(),
        None => app.random.uuid(app.clock.now()).to_string(),
    }
}

/// Runs the table within the time limit. A panic becomes a response, too.
async fn answer(request: Request, next: Next, deadline: Deadline) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout_at(deadline.at.into(), answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => panics::caught(&*panic).into_response(),
        Err(_) => deadline.passed().into_response(),
    }
}

/// Renders refusals below `/console` as pages.
fn as_page(app: &App, asked: &console::Asked, response: Response, id: &str) -> Response {
    if response.status().as_u16() < 400 || console::is_page(&response) {
        return response;
    }
    let document = document(&response, app.settings.base_path(), id);
    asked.refusal(app, response, document)
}

/// Returns the problem document of a refusal: of an operation, or of the framework.
fn document(response: &Response, base_path: &str, id: &str) -> Problem {
    let mut document = match response.extensions().get::<Arc<Error>>() {
        Some(error) => error.document_below(base_path),
        None => framework_refusal(response.status(), base_path).document_below(base_path),
    };
    document.request_id = Some(id.to_owned());
    document
}

/// Adds the request ID to refusals, and renders those of the framework as problem documents.
fn as_problem(response: Response, app: &App, path: &str, id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let document = document(&response, app.settings.base_path(), id);
    let (mut parts, _) = response.into_parts();
    let (text, media_type) = if scim::protocol::is_below(path) {
        let (status, body) = (SCIM.refusal)(&document);
        parts.status = StatusCode::from_u16(status).unwrap_or(parts.status);
        (serde_json::to_vec(&body), SCIM.media_type)
    } else {
        (serde_json::to_vec(&document), "application/problem+json")
    };
    let text = text.unwrap_or_default();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(text))
}

async fn healthz(_: Raw) -> Result<Response> {
    Ok("ok\n".into_response())
}

async fn readyz(raw: Raw) -> Result<Response> {
    if raw.app.is_stopping() {
        return Err(Error::unavailable("The server is shutting down.", 5));
    }
    Keyring::of(&raw.app).active()?;
    raw.app.try_write().await?;
    skew::refuse(&raw.app)?;
    let clock = StatusLists::of(&raw.app).check_clock()?;
    Ok(format!("ready\n{}", clock.unwrap_or_default()).into_response())
}

async fn openapi_document(raw: Raw) -> Result<Response> {
    Ok(ApiDocument::of(&raw.app).json(&raw.app).render(&raw.parts.headers))
}
