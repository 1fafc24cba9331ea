//! The HTTP server: what surrounds the table of operations.
//!
//! One layer gives every request its id, the limits on its line, headers and time, a problem document
//! for whatever the framework refuses by itself, security headers, its log line and its metrics; below
//! it is the table.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cp_contracts::ProblemCode;
use futures_util::FutureExt;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::Service;

use crate::App;
use crate::kernel::admission::Desk;
use crate::kernel::answer::Document;
use crate::kernel::caller::{Peer, RequestId};
use crate::kernel::error::{Error, Result};
use crate::kernel::table::Raw;
use crate::kernel::{idempotency, openapi};
use crate::{routes as table, telemetry};

crate::routes! { server:
    /// Whether the process lives; never looks at the database.
    GET "/healthz" Public => healthz, root;
    /// Whether the server can do its work: the database, the signing key, and not ending.
    GET "/readyz" Public => readyz, root;
    /// Metrics in the Prometheus text format.
    GET "/metrics" Public => metrics, root;
    /// The OpenAPI 3.1 document of this API.
    GET "/openapi.json" Public => openapi_document, raw;
    /// The API's documentation for people.
    GET "/docs" Public => docs, root;
}

const URI_LIMIT: usize = 8 * 1024;
const HEADER_LIMIT: usize = 32 * 1024;
const HEADER_TIME: Duration = Duration::from_secs(10);
const REQUEST_TIME: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 4096;
/// What requests in flight get after the signal to end.
const GRACE: Duration = Duration::from_secs(10);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The whole service, as the network and the tests call it.
pub fn router(app: &App) -> Router {
    let _ = telemetry::metrics();
    table()
        .into_router(app.clone())
        // One layer, not one per concern: each layer costs every request a boxed future.
        .layer(from_fn_with_state(app.clone(), surround))
}

/// Serves until the signal to end, then lets requests in flight finish.
pub async fn serve(
    app: App,
    listener: TcpListener,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let service = router(&app);
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(64 * 1024);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_header_list_size(u32::try_from(HEADER_LIMIT).unwrap_or(u32::MAX));
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let open = GracefulShutdown::new();
    tokio::pin!(end);
    loop {
        let room = connections.clone().acquire_owned();
        let (stream, peer, room) = tokio::select! {
            () = &mut end => break,
            accepted = async { (room.await, listener.accept().await) } => match accepted {
                (Ok(room), Ok((stream, peer))) => (stream, peer, room),
                (_, Err(error)) => {
                    // Out of file descriptors, most likely: waiting frees some.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                (Err(_), _) => break,
            },
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(WithPeer { inner: service.clone(), peer });
        let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let connection = open.watch(connection.into_owned());
        tokio::spawn(async move {
            // A client that goes away is its own business.
            let _ = connection.await;
            drop(room);
        });
    }
    drop(listener);
    tracing::info!("ending: requests in flight have {} seconds", GRACE.as_secs());
    if tokio::time::timeout(GRACE, open.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    Ok(())
}

/// Tells the service where a connection comes from.
#[derive(Clone)]
struct WithPeer {
    inner: Router,
    peer: SocketAddr,
}

impl<B> Service<axum::http::Request<B>> for WithPeer
where
    B: axum::body::HttpBody<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = <Router as Service<Request>>::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        Service::<Request>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: axum::http::Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.peer.ip()));
        self.inner.call(request)
    }
}

/// What every request and every answer has in common.
async fn surround(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&app, request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let desk = Desk::default();
    request.extensions_mut().insert(desk.clone());
    let peer = request.extensions().get::<Peer>().copied();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let matched = request.extensions().get::<MatchedPath>().map(|m| m.as_str().to_owned());
    // Scanners must not make a label of every path that they try.
    let label = matched.unwrap_or_else(|| "unmatched".into());
    let response = match limits(&request) {
        Ok(()) => answer(request, next).await,
        Err(refusal) => refusal.into_response(),
    };
    let mut response = as_problem(response, &id);
    secure(response.headers_mut(), &app);
    desk.tell(response.headers_mut());
    if let Ok(value) = HeaderValue::try_from(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let (status, elapsed) = (response.status().as_u16(), started.elapsed());
    let labels = [("method", method.to_string()), ("path", label), ("status", status.to_string())];
    metrics::counter!("cp_http_requests_total", &labels).increment(1);
    metrics::histogram!("cp_http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
    let micros = elapsed.as_micros();
    if let Some(error) = response.extensions().get::<Arc<Error>>().filter(|_| status >= 500) {
        tracing::error!(%method, path, status, micros, request_id = id, %error, "request failed");
    } else if let Some(peer) = peer {
        tracing::info!(%method, path, status, micros, request_id = id, peer = %peer.0, "request");
    } else {
        // The command line calls operations in its own process; nobody reads along.
        tracing::debug!(%method, path, status, micros, request_id = id, "call");
    }
    response
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

/// Whether the request line and the headers are of a size that is taken.
fn limits(request: &Request) -> Result<()> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > URI_LIMIT {
        let detail = format!("The request target has {target} bytes; it takes {URI_LIMIT}.");
        return Err(Error::new(ProblemCode::UriTooLong, detail));
    }
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers > HEADER_LIMIT {
        let detail = format!("The headers have {headers} bytes; it takes {HEADER_LIMIT}.");
        return Err(Error::new(ProblemCode::HeadersTooLarge, detail));
    }
    Ok(())
}

/// The answer of the table, within the time limit; a panic is an answer, too.
async fn answer(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(REQUEST_TIME, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("of unknown cause");
            Error::internal(anyhow::anyhow!("panic: {what}")).into_response()
        }
        Err(_) => {
            let detail = "The request took longer than 30 seconds; a change was either made or \
                          not: ask, or repeat it with its Idempotency-Key.";
            Error::new(ProblemCode::Timeout, detail).into_response()
        }
    }
}

/// Gives refusals their request id, and turns those of the framework into problem documents.
fn as_problem(response: Response, id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let mut document = match parts.extensions.get::<Arc<Error>>() {
        Some(error) => error.document(),
        None => framework_refusal(status).document(),
    };
    document.request_id = Some(id.to_owned());
    let text = serde_json::to_vec(&document).unwrap_or_default();
    parts
        .headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(text))
}

fn framework_refusal(status: StatusCode) -> Error {
    match status {
        StatusCode::NOT_FOUND => {
            Error::new(ProblemCode::NotFound, "There is no such path; see /docs.")
        }
        StatusCode::METHOD_NOT_ALLOWED => Error::new(
            ProblemCode::MethodNotAllowed,
            "This path does not take this method; the Allow header lists those it takes.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            Error::new(ProblemCode::TooLarge, "The body is too large.")
        }
        _ if status.is_server_error() => Error::internal(anyhow::anyhow!("framework: {status}")),
        _ => Error::bad_request("The request is not well-formed."),
    }
}

fn secure(headers: &mut HeaderMap, app: &App) {
    if app.settings.base_url.starts_with("https:") {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    let always = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let defaults = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

async fn healthz(_: Raw) -> Result<Response> {
    Ok("ok\n".into_response())
}

async fn readyz(raw: Raw) -> Result<Response> {
    if raw.app.is_stopping() {
        return Err(Error::unavailable("The server is ending.", 5));
    }
    raw.app.keys.active()?;
    idempotency::try_write(&raw.app).await?;
    Ok("ready\n".into_response())
}

async fn metrics(_: Raw) -> Result<Response> {
    let text = telemetry::metrics().render();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

async fn openapi_document(raw: Raw) -> Result<Response> {
    static TEXT: OnceLock<Document> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let text = serde_json::to_vec(&openapi::document(table())).unwrap_or_default();
        Document::new("application/json", "public, max-age=300", text)
    });
    Ok(text.render(&raw.parts.headers))
}

async fn docs(raw: Raw) -> Result<Response> {
    static PAGE: OnceLock<Document> = OnceLock::new();
    let page = PAGE.get_or_init(|| {
        Document::new("text/html; charset=utf-8", "public, max-age=300", docs_page())
    });
    let mut response = page.render(&raw.parts.headers);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(response)
}

/// The table as a page: readable without a script or a third party.
fn docs_page() -> String {
    use std::fmt::Write;
    let mut page = String::from(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport \
         content=\"width=device-width\"><title>License authority API</title><style>\
         body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}\
         code{font-size:.9em}td{padding:.2rem 1rem .2rem 0;vertical-align:top}\
         b{display:inline-block;min-width:4rem}</style>\
         <h1>License authority API</h1><p>Base <code>/api/v1</code>; the machine-readable form is \
         <a href=/api/v1/openapi.json>openapi.json</a>. Send \
         <code>Authorization: Bearer &lt;token&gt;</code>; refusals are \
         <code>application/problem+json</code> (RFC 9457).</p>",
    );
    let mut slice = "";
    for line in &table().table {
        let name = line.name.split('.').next().unwrap_or_default();
        if name != slice {
            let end = if slice.is_empty() { "" } else { "</table>" };
            let _ = write!(page, "{end}<h2>{}</h2><table>", name.replace('_', " "));
            slice = name;
        }
        let doc =
            line.doc.trim().replace('&', "&amp;").replace('<', "&lt;").replace("\n\n", "<br>");
        let _ = write!(
            page,
            "<tr><td><code><b>{}</b>{}</code><td>{doc}<br><small>{} · needs {}</small>",
            line.method,
            line.full_path(),
            line.name,
            line.permission.as_str()
        );
    }
    page + "</table>"
}
