//! Calls of operations by this process for the caller of a page: the page's only access to data.
//!
//! # Design
//! A page's own request is admitted once: its credential, its rate and its organization's quota.
//! Its calls then pass the router of the table like requests of the network, with the page's caller
//! as their credential. So authorization, audit, idempotency and the stricter rates are those of the
//! API. All reads of a page share one connection of the pool and one state of the database: the owner
//! of a row is looked up once. A change
//! and a raw line release it first: a request that held one connection and waited for another would
//! block the pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use crate::kernel::access::admission;
use crate::kernel::access::authentication;
use crate::kernel::access::caller::{Caller, Peer, Permission, RequestId, Vouched};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Exposure;
use crate::kernel::access::policy::{self, Location, Verdict};
use crate::kernel::app::App;
use crate::kernel::completion::Deadline;
use crate::kernel::db::Conn;
use crate::kernel::db::shared::SharedConn;
use crate::kernel::digits;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::line::Line;
use crate::kernel::text::path_segment;
use crate::kernel::traces::{Span, Tracing};

/// The largest answer that a page reads, in bytes.
const ANSWER: usize = 16 * 1024 * 1024;

/// The table of operations, and the router that serves it.
#[derive(Clone)]
pub struct Api {
    pub app: App,
    router: Router,
    lines: Arc<BTreeMap<&'static str, Line>>,
}

impl Api {
    pub fn new(app: App, router: Router, table: &[Line]) -> Self {
        let lines = table.iter().map(|line| (line.name, line.clone())).collect();
        Self { app, router, lines: Arc::new(lines) }
    }

    /// Returns the line of an operation, if the table has it.
    pub fn line(&self, operation: &str) -> Option<&Line> {
        self.lines.get(operation)
    }

    /// Admits the request of a page. A public page is for callers without a credential.
    pub async fn enter(&self, parts: Arc<Parts>, is_public: bool) -> Result<InProcess> {
        let permission = if is_public { Permission::PUBLIC } else { Permission::ANY };
        let page = Line::new("console", "", parts.method.clone(), "/console", permission);
        let caller = admission::enter(&self.app, &parts, &page).await?;
        admission::charge(&self.app, &caller, &parts, &page, async || Ok(None)).await?;
        Ok(InProcess { api: self.clone(), caller, parts, snapshot: None, is_begun: false })
    }
}

/// Returns the connection of a read: the page's, or one of its own.
pub(in crate::kernel) async fn connection(app: &App, caller: &Caller, parts: &Parts) -> Conn {
    match parts.extensions.get::<SharedConn>() {
        Some(conn) => conn.turn().await,
        None => {
            let own = (!caller.is_of_platform()).then(|| caller.organizations());
            app.db.read_after(app.recent.seen_by(own.map(Vec::from_iter)))
        }
    }
}

/// A page's access to the operations, as its caller.
pub struct InProcess {
    api: Api,
    pub caller: Caller,
    parts: Arc<Parts>,
    /// The connection that the reads share.
    snapshot: Option<SharedConn>,
    /// Whether the answer of the page has begun.
    is_begun: bool,
}

/// A value that was read, with the digits of its numbers, and its entity tag.
pub struct Seen<T> {
    pub value: T,
    pub tag: Option<String>,
}

/// The conditions of a change: its idempotency key, and the entity tag of the state that it changes.
#[derive(Clone, Debug, Default)]
pub struct Once {
    pub key: Option<String>,
    pub if_match: Option<String>,
}

/// The answer of a change.
pub struct Done {
    pub status: StatusCode,
    /// The path of what was created.
    pub location: Option<String>,
    pub body: Value,
}

impl InProcess {
    pub fn app(&self) -> &App {
        &self.api.app
    }

    /// Returns the access for work that continues when the answer of the page has begun. Each change
    /// checks the credential again, and has the time of a whole request.
    pub fn begun(&self) -> Self {
        let (api, caller, parts) = (self.api.clone(), self.caller.clone(), self.parts.clone());
        Self { api, caller, parts, snapshot: None, is_begun: true }
    }

    /// Runs the GET line `operation`. `place` has the values of its path, and `query` is the rest.
    pub async fn read<T: DeserializeOwned>(
        &mut self,
        operation: &str,
        place: &[&str],
        query: &str,
    ) -> Result<Seen<T>> {
        let mut request = self.request(operation, place, query, Body::empty())?;
        if self.api.line(operation).is_some_and(|line| line.raw) {
            // The line uses a connection of its own.
            self.snapshot = None;
        } else {
            let snapshot = match &self.snapshot {
                Some(snapshot) => snapshot.clone(),
                None => {
                    let conn = self.api.app.db.consistent_read().await?;
                    self.snapshot.insert(SharedConn::new(conn)).clone()
                }
            };
            request.extensions_mut().insert(snapshot);
        }
        let (parts, body) = self.answer(request).await?;
        let tag = parts.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let value = digits::read(&body).map_err(Error::internal)?;
        Ok(Seen { value, tag: tag.map(str::to_owned) })
    }

    /// Runs the GET line `operation`, whose answer is text.
    pub async fn text(&mut self, operation: &str) -> Result<String> {
        self.snapshot = None;
        let request = self.request(operation, &[], "", Body::empty())?;
        let (_, body) = self.answer(request).await?;
        String::from_utf8(body.to_vec()).map_err(Error::internal)
    }

    /// Runs a line that changes something, in all eight steps. Later reads see the change.
    pub async fn change(
        &mut self,
        operation: &str,
        place: &[&str],
        query: &str,
        body: &Value,
        once: &Once,
    ) -> Result<Done> {
        self.snapshot = None;
        if self.is_begun {
            self.caller = authentication::again(self.app(), &self.parts).await?;
        }
        let json = match body.is_null() {
            true => Body::empty(),
            false => Body::from(digits::write(body).map_err(Error::internal)?),
        };
        let mut request = self.request(operation, place, query, json)?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [("idempotency-key", &once.key), ("if-match", &once.if_match)] {
            if let Some(value) = value {
                let value = HeaderValue::try_from(value)
                    .map_err(|_| Error::bad_request("The form's hidden entries are damaged."))?;
                headers.insert(name, value);
            }
        }
        let (parts, body) = self.answer(request).await?;
        let location = parts.headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
        let body = match body.is_empty() {
            true => Value::Null,
            false => digits::read(&body).map_err(Error::internal)?,
        };
        Ok(Done { status: parts.status, location: location.map(str::to_owned), body })
    }

    /// Runs a public line with the headers of the page's request, for its cookies.
    pub async fn forward(&self, operation: &str, body: &Value) -> Result<Response> {
        let mut request = self.request(operation, &[], "", Body::from(body.to_string()))?;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let own =
            [header::ORIGIN, header::COOKIE, header::HeaderName::from_static("sec-fetch-site")];
        for name in own {
            for value in self.parts.headers.get_all(&name) {
                request.headers_mut().append(&name, value.clone());
            }
        }
        let answer = self.api.router.clone().oneshot(request).await;
        let mut answer = answer.unwrap_or_else(|never| match never {});
        refusal(&mut answer).map_or(Ok(answer), Err)
    }

    /// Whether the caller may run the operation: on the platform, or in the organization of the page.
    /// The operation itself still decides.
    pub fn may(&self, operation: &str, organization: Option<OrganizationId>) -> bool {
        let Some(line) = self.api.line(operation) else { return false };
        let location = match (line.exposure, organization) {
            (Exposure::Organization, Some(id)) => Location::Organization(id),
            (Exposure::Anywhere | Exposure::Own | Exposure::Public, _) => return true,
            _ => Location::Platform,
        };
        // A grant in an area may cover the page's object: the operation knows.
        let in_area =
            |id| self.caller.areas(id, line.permission).is_none_or(|some| !some.is_empty());
        policy::decide(&self.caller.grants, location, line.permission) == Verdict::Allowed
            || organization.is_some_and(|id| line.exposure == Exposure::Organization && in_area(id))
    }

    fn request(
        &self,
        operation: &str,
        place: &[&str],
        query: &str,
        body: Body,
    ) -> Result<Request<Body>> {
        let unknown = || Error::internal(anyhow::anyhow!("a page calls {operation} at {place:?}"));
        let line = self.api.line(operation).ok_or_else(unknown)?;
        let (mut path, mut values) = (String::new(), place.iter());
        for part in line.full_path().split('/').skip(1) {
            path.push('/');
            match part.starts_with('{') {
                true => path.push_str(&path_segment(values.next().ok_or_else(unknown)?)),
                false => path.push_str(part),
            }
        }
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let request = Request::builder().method(line.method.clone()).uri(path).body(body);
        let mut request = request.map_err(Error::internal)?;
        let (own, page) = (request.extensions_mut(), &self.parts.extensions);
        own.insert(self.caller.clone());
        own.insert(Vouched);
        page.get::<Peer>().map(|peer| own.insert(*peer));
        page.get::<RequestId>().map(|id| own.insert(id.clone()));
        let deadline = page.get::<Deadline>().filter(|_| !self.is_begun);
        deadline.map(|deadline| own.insert(*deadline));
        Ok(request)
    }

    async fn answer(&self, request: Request<Body>) -> Result<(axum::http::response::Parts, Bytes)> {
        let answer = self.api.router.clone().oneshot(request).within(Span::step("call")).await;
        let mut answer = answer.unwrap_or_else(|never| match never {});
        if let Some(refusal) = refusal(&mut answer) {
            return Err(refusal);
        }
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, ANSWER).await.map_err(Error::internal)?;
        Ok((parts, body))
    }
}

/// Returns the error of an answer.
fn refusal(answer: &mut Response) -> Option<Error> {
    if answer.status().as_u16() < 400 {
        return None;
    }
    let error = answer.extensions_mut().remove::<Arc<Error>>().and_then(Arc::into_inner);
    // The framework's own refusal: an identifier that no path can have.
    Some(error.unwrap_or_else(|| Error::not_found("page")))
}
