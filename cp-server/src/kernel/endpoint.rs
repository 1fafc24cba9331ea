//! The table of operations: what every operation shares happens here, once.
//!
//! A line states an operation's documentation, method, path, permission and function. Serving it
//! takes the same eight steps for all: authenticate, begin, authorize, read the input, run, audit,
//! commit, render.
//!
//! # Design
//! - Authentication and the reading of the body come before the transaction: a stranger or a slow
//!   client never holds SQLite's one writer.
//! - A `late` line begins its transaction itself, with [`Cx::begin`], after work that must not hold
//!   the writer (signing). What it read before may have changed by then: its write says so in its
//!   condition and answers [`Error::stale`], which starts the whole operation over.
//! - An operation is a plain function. It never commits and never sees HTTP, so that the CLI, jobs
//!   and tests can call what the network calls.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use super::answer::{Output, etag, has_tag};
use super::caller::{Caller, Permission, authenticate};
use super::db::Conn;
use super::error::{Error, Result};
use super::idempotency::Once;
use super::ids::OrganizationId;
use super::json;
use super::place::{Ground, Place, Reach};
use crate::{App, audit};

/// Where the API lives.
pub const BASE: &str = "/api/v1";
/// The largest request body, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;
/// How often an operation starts over when others were faster.
const ATTEMPTS: u32 = 5;

/// What an operation works with.
pub struct Cx<G = OrganizationId> {
    pub app: App,
    pub caller: Caller,
    /// What authorization settled on: an organization, or the caller's reach.
    pub org: G,
    pub tx: Conn,
    /// The one instant of this operation.
    pub now: DateTime<Utc>,
    pub parts: Arc<Parts>,
    pub trail: audit::Trail,
}

impl<G> Cx<G> {
    /// For work that no request of the table asked for: the CLI, the start, streams.
    pub fn outside(app: &App, caller: Caller, org: G, tx: Conn) -> Self {
        let (parts, ()) = axum::http::Request::new(()).into_parts();
        Self {
            app: app.clone(),
            caller,
            org,
            tx,
            now: app.clock.now(),
            parts: Arc::new(parts),
            trail: audit::Trail::default(),
        }
    }

    /// Begins the transaction of a `late` line, or of a read that found something to write.
    pub async fn begin(&mut self) -> Result<()> {
        self.tx = self.app.db.begin().await?;
        Ok(())
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// `<slice>.<function>`: operation id, audit action, metric label, CLI verb.
    pub name: &'static str,
    pub doc: &'static str,
    pub method: Method,
    /// Below [`BASE`], unless the line is at the root.
    pub path: &'static str,
    pub permission: Permission,
    pub reach: Reach,
    pub parameters: Vec<Schema>,
    pub input: Option<Schema>,
    pub output: Option<Schema>,
    pub status: StatusCode,
    /// Another status of success.
    pub also: Option<StatusCode>,
    /// A raw line renders its own answer, which need not be JSON.
    pub raw: bool,
    pub late: bool,
    pub root: bool,
}

impl Line {
    /// The path with its base.
    pub fn full_path(&self) -> String {
        if self.root { self.path.to_owned() } else { format!("{BASE}{}", self.path) }
    }

    pub fn reads(&self) -> bool {
        self.method == Method::GET
    }

    /// Whether the input is the query string; it is the body otherwise.
    pub fn in_query(&self) -> bool {
        matches!(self.method, Method::GET | Method::DELETE)
    }

    fn new(
        name: &'static str,
        doc: &'static str,
        method: Method,
        path: &'static str,
        permission: Permission,
    ) -> Self {
        Self {
            name,
            doc,
            method,
            path,
            permission,
            reach: Reach::Public,
            parameters: Vec::new(),
            input: None,
            output: None,
            status: StatusCode::OK,
            also: None,
            raw: false,
            late: false,
            root: false,
        }
    }
}

/// Declares a slice's lines: `pub fn routes(&mut Routes)`.
///
/// The doc comment's first line is the summary, and `<slice>.<function>` the name that clients,
/// audit events and metrics use. After the function a line may say how it is served: `late`,
/// `raw` (answers for itself, such as a stream) or `root` (raw, and outside [`BASE`]).
#[macro_export]
macro_rules! routes {
    (@serve $line:expr, $op:ident) => { $line.json($op) };
    (@serve $line:expr, $op:ident, late) => { $line.late().json($op) };
    (@serve $line:expr, $op:ident, raw) => { $line.raw($op) };
    (@serve $line:expr, $op:ident, root) => { $line.root().raw($op) };
    ($slice:ident: $(
        $(#[doc = $doc:literal])+
        $method:ident $path:literal $permission:ident => $op:ident $(, $mode:ident)?;
    )+) => {
        pub fn routes(r: &mut $crate::kernel::endpoint::Routes) {
            $($crate::routes!(@serve r.line(
                concat!(stringify!($slice), ".", stringify!($op)),
                concat!($($doc, "\n"),+),
                axum::http::Method::$method,
                $path,
                $crate::kernel::caller::Permission::$permission,
            ), $op $(, $mode)?);)+
        }
    };
}

/// The table in the making.
pub struct Routes {
    pub table: Vec<Line>,
    pub schemas: SchemaGenerator,
    router: Router<App>,
    readers: HashMap<&'static str, Reader>,
    /// The same map for the handlers, which are made before it is complete.
    complete: Readers,
}

type Readers = Arc<OnceLock<HashMap<&'static str, Reader>>>;

/// Runs the GET line of a path inside another operation's transaction: what `If-Match` is
/// compared with, and what the audit event keeps as the state before.
type Reader = Arc<dyn for<'a> Fn(Reading<'a>) -> Read<'a> + Send + Sync>;
type Read<'a> = Pin<Box<dyn Future<Output = (Conn, Result<Option<Bytes>>)> + Send + 'a>>;

struct Reading<'a> {
    app: &'a App,
    caller: &'a Caller,
    parts: &'a Arc<Parts>,
    tx: Conn,
    now: DateTime<Utc>,
}

impl Default for Routes {
    fn default() -> Self {
        let mut settings = schemars::generate::SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        Self {
            table: Vec::new(),
            schemas: settings.into_generator(),
            router: Router::new(),
            readers: HashMap::new(),
            complete: Readers::default(),
        }
    }
}

impl Routes {
    /// Begins a line; called by `routes!` alone.
    pub fn line(
        &mut self,
        name: &'static str,
        doc: &'static str,
        method: Method,
        path: &'static str,
        permission: Permission,
    ) -> Adding<'_> {
        Adding { line: Line::new(name, doc, method, path, permission), routes: self }
    }

    pub fn into_router(self, app: App) -> Router {
        // Set here once: nobody else holds the cell before the router serves.
        let _ = self.complete.set(self.readers);
        self.router.with_state(app)
    }
}

/// A line that is being added.
pub struct Adding<'r> {
    routes: &'r mut Routes,
    line: Line,
}

impl Adding<'_> {
    #[must_use]
    pub fn late(mut self) -> Self {
        self.line.late = true;
        self
    }

    #[must_use]
    pub fn root(mut self) -> Self {
        self.line.root = true;
        self
    }

    /// An operation with the eight steps.
    pub fn json<A: Args, R: Output>(mut self, op: impl for<'a> Op<'a, A, R>) {
        let Self { routes, .. } = self;
        let line = &mut self.line;
        line.reach = A::Place::REACH;
        line.parameters = A::Place::parameters();
        line.input = A::schema(&mut routes.schemas, line.in_query());
        line.output = R::schema(&mut routes.schemas);
        line.status = R::STATUS;
        line.also = R::ALSO;
        if line.reads() {
            let reader: Reader = Arc::new(move |reading| Box::pin(read_again(op, reading)));
            routes.readers.insert(line.path, reader);
        }
        let (readers, shared) = (routes.complete.clone(), Arc::new(self.line.clone()));
        let handler = move |State(app): State<App>, request: Request| async move {
            serve(&shared, op, &readers, app, request)
                .await
                .unwrap_or_else(IntoResponse::into_response)
        };
        routes.table.push(self.line.clone());
        routes.router = std::mem::take(&mut routes.router)
            .route(&self.line.full_path(), on(filter(&self.line.method), handler));
    }

    /// An operation that answers for itself.
    pub fn raw<F, X>(mut self, op: F)
    where
        F: Fn(Raw) -> X + Copy + Send + Sync + 'static,
        X: Future<Output = Result<Response>> + Send,
    {
        self.line.raw = true;
        let permission = self.line.permission;
        self.line.reach =
            if permission == Permission::Public { Reach::Public } else { Reach::Anywhere };
        let handler = move |State(app): State<App>, request: Request| async move {
            let (parts, body) = request.into_parts();
            let answer = async {
                let caller = match permission {
                    Permission::Public => Caller::anonymous(),
                    _ => authenticate(&app, &parts).await?,
                };
                if permission != Permission::Public {
                    caller.holds(permission)?;
                }
                op(Raw { app, caller, parts, body }).await
            };
            answer.await.unwrap_or_else(IntoResponse::into_response)
        };
        let Self { routes, line } = self;
        routes.router = std::mem::take(&mut routes.router)
            .route(&line.full_path(), on(filter(&line.method), handler));
        routes.table.push(line);
    }
}

/// What a raw line gets.
pub struct Raw {
    pub app: App,
    pub caller: Caller,
    pub parts: Parts,
    pub body: axum::body::Body,
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).expect("the table names standard methods")
}

async fn serve<A: Args, R: Output>(
    line: &Line,
    op: impl for<'a> Op<'a, A, R>,
    readers: &Readers,
    app: App,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let caller = match line.permission {
        Permission::Public => Caller::anonymous(),
        _ => authenticate(&app, &parts).await?,
    };
    let body = if line.reads() { Bytes::new() } else { read_body(&parts, body).await? };
    let parts = Arc::new(parts);
    for _ in 1..ATTEMPTS {
        match attempt(line, op, readers, &app, &caller, &parts, &body).await {
            Err(error) if error.is_retryable() => {}
            done => return done,
        }
    }
    attempt(line, op, readers, &app, &caller, &parts, &body).await
}

async fn attempt<A: Args, R: Output>(
    line: &Line,
    op: impl for<'a> Op<'a, A, R>,
    readers: &Readers,
    app: &App,
    caller: &Caller,
    parts: &Arc<Parts>,
    body: &Bytes,
) -> Result<Response> {
    let now = app.clock.now();
    let reads = line.reads() || line.late;
    let mut tx = if reads { app.db.read() } else { app.db.begin().await? };

    let place: A::Place = place_of(parts).await?;
    let org = place.authorize(caller, &mut tx, line.permission).await?;

    let once = Once::of(parts, caller, body)?;
    if let Some(once) = &once
        && let Some(answer) = once.find(app, &mut tx, now).await?
    {
        let mut response = answer.render(&parts.method, &parts.headers);
        response.headers_mut().insert("idempotent-replayed", true_value());
        return Ok(response);
    }

    let mut trail = audit::Trail::default();
    if let Some(reader) = reader_before::<R>(line, readers) {
        let (conn, before) = reader(Reading { app, caller, parts, tx, now }).await;
        tx = conn;
        if let Some(before) = before? {
            check_if_match(parts, &before)?;
            trail.before = serde_json::from_slice(&before).ok();
        }
    }

    let target = place.target(org);
    let source = if line.in_query() {
        Source::Query(parts.uri.query().unwrap_or_default())
    } else {
        Source::Body(body)
    };
    let args = A::read(place, source)?;
    let (app, caller, parts) = (app.clone(), caller.clone(), parts.clone());
    let mut cx = Cx { app, caller, org, tx, now, parts, trail };
    let answer = op.run(&mut cx, args).await.map_err(|error| error.of(&line.method))?.answer()?;

    if cx.tx.writes() {
        let target = answer.made.clone().unwrap_or(target);
        cx.trail.after = cx.trail.after.take().or_else(|| answer.after.clone());
        audit::record(&mut cx, line.name, org.organization(), target).await?;
        if let Some(once) = &once {
            once.keep(&cx.app, &mut cx.tx, now, &answer).await?;
        }
    } else if !line.reads() {
        return Err(Error::internal(anyhow::anyhow!("{} did not begin its write", line.name)));
    }
    let wrote = cx.tx.writes();
    cx.tx.commit().await?;
    if wrote {
        cx.app.committed(line.name);
    }
    Ok(answer.render(&cx.parts.method, &cx.parts.headers))
}

/// The GET line whose answer is the state before: that of the path itself, or, for an action such
/// as `/licenses/{id}/revoke`, that of the thing it acts on.
fn reader_before<R: Output>(line: &Line, readers: &Readers) -> Option<Reader> {
    if line.reads() || line.late || R::MAKES {
        return None;
    }
    let readers = readers.get()?;
    let path = match line.method {
        Method::POST => line.path.rsplit_once('/')?.0,
        _ => line.path,
    };
    readers.get(path).cloned()
}

async fn read_again<A: Args, R: Output>(
    op: impl for<'a> Op<'a, A, R>,
    reading: Reading<'_>,
) -> (Conn, Result<Option<Bytes>>) {
    let Reading { app, caller, parts, mut tx, now } = reading;
    let prepared = async {
        let place: A::Place = place_of(parts).await?;
        // The line that asked has authorized already, for more than reading.
        let org = place.authorize(&Caller::system("kernel"), &mut tx, Permission::Any).await?;
        Ok((org, A::read(place, Source::Query(""))?))
    };
    let (org, args) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => return (tx, Err(error)),
    };
    let (app, caller, parts) = (app.clone(), caller.clone(), parts.clone());
    let mut cx = Cx { app, caller, org, tx, now, parts, trail: audit::Trail::default() };
    let answer = op.run(&mut cx, args).await;
    (cx.tx, answer.and_then(|output| Ok(output.answer()?.body)))
}

fn check_if_match(parts: &Parts, before: &[u8]) -> Result<()> {
    if !parts.headers.contains_key(header::IF_MATCH)
        || has_tag(&parts.headers, header::IF_MATCH, &etag(before))
    {
        return Ok(());
    }
    let detail = "If-Match: it has changed since; read it again and decide anew.";
    let current = etag(before).to_str().unwrap_or_default().to_owned();
    Err(Error::new(ProblemCode::PreconditionFailed, detail).with("current", current))
}

async fn place_of<P: Place>(parts: &Arc<Parts>) -> Result<P> {
    let mut parts = Parts::clone(parts);
    // An id that does not parse is one that nobody has.
    let place = Path::<P>::from_request_parts(&mut parts, &()).await;
    place.map(|Path(place)| place).map_err(|_| Error::not_found(P::noun()))
}

/// The whole body, if it is JSON and not too large.
pub async fn read_body(parts: &Parts, body: axum::body::Body) -> Result<Bytes> {
    let bytes = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|error| {
        let cause = std::error::Error::source(&error);
        if cause.is_some_and(|c| c.is::<http_body_util::LengthLimitError>()) {
            let detail = format!("The body is larger than {BODY_LIMIT} bytes.");
            return Error::new(ProblemCode::TooLarge, detail);
        }
        Error::bad_request("The body did not arrive whole.")
    })?;
    let media_type = parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str());
    let json = match media_type {
        None => true,
        Some(Ok(text)) => {
            let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            essence == "application/json"
                || essence.starts_with("application/") && essence.ends_with("+json")
        }
        Some(Err(_)) => false,
    };
    if !json && !bytes.is_empty() {
        let detail = "Send the body as JSON, with `Content-Type: application/json`.";
        return Err(Error::new(ProblemCode::UnsupportedMediaType, detail));
    }
    Ok(bytes)
}

fn true_value() -> header::HeaderValue {
    header::HeaderValue::from_static("true")
}

/// An operation: `async fn(&mut Cx, Place[, Input]) -> Result<Output>`.
pub trait Op<'a, A: Args, R>: Copy + Send + Sync + 'static {
    type Answer: Future<Output = Result<R>> + Send + 'a;
    fn run(self, cx: &'a mut Cx<GroundOf<A>>, args: A) -> Self::Answer;
}

impl<'a, F, X, P, R> Op<'a, (P,), R> for F
where
    P: Place,
    F: Fn(&'a mut Cx<P::Ground>, P) -> X + Copy + Send + Sync + 'static,
    X: Future<Output = Result<R>> + Send + 'a,
{
    type Answer = X;
    fn run(self, cx: &'a mut Cx<P::Ground>, (place,): (P,)) -> X {
        self(cx, place)
    }
}

impl<'a, F, X, P, I, R> Op<'a, (P, I), R> for F
where
    P: Place,
    I: Input,
    F: Fn(&'a mut Cx<P::Ground>, P, I) -> X + Copy + Send + Sync + 'static,
    X: Future<Output = Result<R>> + Send + 'a,
{
    type Answer = X;
    fn run(self, cx: &'a mut Cx<P::Ground>, (place, input): (P, I)) -> X {
        self(cx, place, input)
    }
}

type GroundOf<A> = <<A as Args>::Place as Place>::Ground;

/// What an operation takes besides its context.
pub trait Args: Sized + Send + 'static {
    type Place: Place;
    fn schema(generator: &mut SchemaGenerator, in_query: bool) -> Option<Schema>;
    fn read(place: Self::Place, source: Source<'_>) -> Result<Self>;
}

/// Where an input is read from.
pub enum Source<'r> {
    Query(&'r str),
    Body(&'r [u8]),
}

impl<P: Place> Args for (P,) {
    type Place = P;
    fn schema(_: &mut SchemaGenerator, _: bool) -> Option<Schema> {
        None
    }
    fn read(place: P, _: Source<'_>) -> Result<Self> {
        Ok((place,))
    }
}

impl<P: Place, I: Input> Args for (P, I) {
    type Place = P;
    fn schema(generator: &mut SchemaGenerator, in_query: bool) -> Option<Schema> {
        Some(I::schema(generator, in_query))
    }
    fn read(place: P, source: Source<'_>) -> Result<Self> {
        let input = match source {
            Source::Query(query) => {
                let pairs = url::form_urlencoded::parse(query.as_bytes());
                I::from_query(pairs.into_owned().collect())?
            }
            // Nothing said is nothing chosen.
            Source::Body(b"") => I::from_body(b"{}")?,
            Source::Body(body) => I::from_body(body)?,
        };
        Ok((place, input))
    }
}

/// What a request carries: the query string of GET and DELETE, the body of the others.
pub trait Input: Sized + Send + 'static {
    fn from_query(pairs: Vec<(String, String)>) -> Result<Self>;
    fn from_body(body: &[u8]) -> Result<Self>;
    /// A query is described member by member, so its schema is never a reference.
    fn schema(generator: &mut SchemaGenerator, in_query: bool) -> Schema;
}

impl<I: DeserializeOwned + JsonSchema + Send + 'static> Input for I {
    fn from_query(pairs: Vec<(String, String)>) -> Result<Self> {
        json::read_query(&pairs)
    }
    fn from_body(body: &[u8]) -> Result<Self> {
        json::read(body)
    }
    fn schema(generator: &mut SchemaGenerator, in_query: bool) -> Schema {
        if in_query { I::json_schema(generator) } else { generator.subschema_for::<I>() }
    }
}
