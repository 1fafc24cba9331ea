//! The common steps of every operation.
//!
//! A line of the table states an operation's documentation, method, path, permission and function.
//! Every request takes the same eight steps: authenticate, begin, authorize, read the input, run,
//! audit, commit, render.
//!
//! # Design
//! - Authentication and the reading of the body precede the transaction: a stranger or a slow client
//!   never holds SQLite's only writer.
//! - An `own_transaction` line begins its transaction itself, with [`Cx::begin`], after work that must not hold
//!   the writer (signing). The state that it read may have changed by then: its write is conditional
//!   and fails with [`Error::stale`], which starts the whole operation over.
//! - A change completes when its client disconnects, bounded by the request's deadline (see
//!   [`completion`](crate::kernel::completion)). So does a read that may write, as its line states.
//! - An operation is a plain function. It never commits and never sees HTTP, so that the CLI, jobs
//!   and tests can call the same functions as the network.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use cp_contracts::ProblemCode;
use uuid::Uuid;

use crate::kernel::access::admission::{self, BodyAttempt};
use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::completion::{Client, Deadline, to_the_end};
use crate::kernel::db::Conn;
use crate::kernel::digits;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Answer, has_tag};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::erased::{AnyOperation, AnyTarget};
use crate::kernel::http::idempotency::Once;
use crate::kernel::http::in_process;
use crate::kernel::http::json;
use crate::kernel::http::line::Line;
use crate::kernel::http::operation::Source;
use crate::kernel::http::reading::{Readers, Reading, read_again};
use crate::kernel::http::turns::{Turn, Turns};
use crate::kernel::journal::draft::AuditDraft;
use crate::kernel::journal::record::record;
use crate::kernel::secret::sha256;
use crate::kernel::traces::{Span, Tracing};

/// The part of a path that names an organization.
const ORGANIZATION: &str = "/organizations/{org}";

/// The maximum number of attempts of an operation when other requests are faster.
const ATTEMPTS: u32 = 5;

/// Serves one line, and starts over when other requests were faster.
pub(in crate::kernel) async fn serve(
    line: Arc<Line>,
    operation: Arc<dyn AnyOperation>,
    readers: Readers,
    app: App,
    request: Request,
) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let caller = admission::enter(&app, &parts, &line).step("authenticate").await?;
    if line.keyed {
        parts.extensions.insert(BodyAttempt::default());
    }
    let place = operation.place(&mut parts);
    let parts = Arc::new(parts);
    // Before the body is read and a transaction begins: a refused request delays no other tenant.
    let named = async || {
        let Ok(place) = &place else { return Ok(None) };
        let owner = place.owner(&mut app.db.read()).await?;
        // An operation without an organization in its path acts on the only one in which the caller
        // may perform it.
        Ok(owner.or_else(|| caller.widest_scope(line.permission).ok()?.organization()))
    };
    admission::charge(&app, &caller, &parts, &line, named).step("charge").await?;
    let place = place?;
    let body = match line.reads() {
        true => Bytes::new(),
        false => read_body(&parts, body, line.body_limit).step("read body").await?,
    };
    admission::enter_by_body(&app, &parts, &line, &body)?;
    let body = match parts.uri.query() {
        Some(query) if !line.in_query() => json::with_query(body, query)?,
        _ => body,
    };
    let (deadline, completes) = (Deadline::of(&parts), line.completes());
    // PostgreSQL's driver closes a connection whose statement is abandoned. A new connection costs more
    // than the change.
    let (client, _waiting) = match completes && app.db.writes_alone() {
        true => Client::that_may_leave(),
        false => (Client::that_stays(), None),
    };
    let work = Admitted { line, operation, place, readers, app, caller, parts, body }.run(client);
    // On the heap: an operation of many bytes would be moved several times.
    let work = Box::pin(work);
    if completes { to_the_end(deadline.bounds(work)).await } else { work.await }
}

/// A request that was admitted.
struct Admitted {
    line: Arc<Line>,
    operation: Arc<dyn AnyOperation>,
    place: Box<dyn AnyTarget>,
    readers: Readers,
    app: App,
    caller: Caller,
    parts: Arc<Parts>,
    body: Bytes,
}

impl Admitted {
    async fn run(self, mut client: Client) -> Result<Response> {
        let mut attempts = 1;
        loop {
            let mark = self.app.db.durability_mark();
            let done = self.attempt(client).await;
            // An earlier attempt of an `own_transaction` line may have committed something.
            client = Client::that_stays();
            let Err(error) = done else { return done };
            if self.line.completes() && *error.code() != ProblemCode::Unavailable {
                // The refusal may depend on recent writes of other requests.
                self.app.db.wait_until_durable(mark).await?;
            }
            if !error.is_retryable() || attempts == ATTEMPTS {
                return Err(error);
            }
            attempts += 1;
        }
    }

    async fn attempt(&self, client: Client) -> Result<Response> {
        let Self { line, operation, place, readers, app, caller, parts, body } = self;
        let now = app.clock.now();
        let mark = app.db.durability_mark();
        // Until the end of the transaction.
        let _turn = self.turn().await?;
        let (mut tx, client) = match line.reads() || line.own_transaction {
            true => (in_process::connection(app, caller, parts).await, client),
            false => {
                let begin = app.db.begin_for(caller.share());
                (client.begins(begin).step("begin").await?, Client::that_stays())
            }
        };

        let at = place.authorize(caller, &mut tx, line.permission).step("authorize").await?;
        if line.throughout
            && let Some(organization) = at.organization()
        {
            caller.refuse_parts(organization, line.permission)?;
        }

        let once = Once::of(parts, caller, body)?;
        if let Some(once) = &once
            && let Some(answer) = once.find(app, &mut tx, now).step("find answer").await?
        {
            let mut response = render(line, app, parts, answer);
            response.headers_mut().insert("idempotent-replayed", true_value());
            drop(tx);
            app.db.wait_until_durable(mark).await?;
            return Ok(response);
        }

        let mut audit = AuditDraft::default();
        if let Some(reader) = reader_before(line, &**operation, readers) {
            self.hold(&mut tx, at.organization()).step("hold").await?;
            let reading = read_again(&*reader, Reading { app, caller, parts, tx, now });
            let (conn, before) = reading.within(Span::step("read before")).await;
            tx = conn;
            let before = match before {
                // The thing does not exist yet: this request creates it.
                Err(error) if is_put(line) && *error.code() == ProblemCode::NotFound => None,
                before => before?,
            };
            check_if_match(parts, before.as_ref().map(|before| &before.tag))?;
            audit.before = before.and_then(|before| digits::read(&before.body).ok());
        }

        let target = place.target(at);
        let about;
        let source = if line.in_query() {
            about = format!("{} {}", line.path, target.1);
            Source::Query { query: parts.uri.query().unwrap_or_default(), about: &about }
        } else {
            Source::Body(body)
        };
        let (app, caller, parts) = (app.clone(), caller.clone(), parts.clone());
        let completes = line.completes();
        let cx = Cx { audit, completes, client, ..Cx::new(app, caller, parts, at, tx, now) };
        let span = Span::step("run");
        span.set("cp.operation", line.name);
        let run = async {
            let (cx, answer) = operation.run(cx, &**place, source, line.audited).await;
            answer.map(|answer| (cx, answer))
        };
        let done = run.recorded(span).await;
        let (mut cx, answer) = done.map_err(|error| error.of(&line.method))?;

        // Other lines cannot omit their event.
        let omits_event = line.conditional_audit && cx.audit.is_omitted();
        if cx.tx.writes() {
            let target = answer.made.clone().unwrap_or(target);
            if line.audited && !omits_event {
                cx.audit.after = cx.audit.after.take().or_else(|| answer.after.clone());
                record(&mut cx, line.name, at.organization(), target).step("audit").await?;
            }
            if let Some(once) = &once {
                once.keep(&cx.app, &mut cx.tx, now, &answer).step("keep answer").await?;
            }
        } else if let Some(once) = once.as_ref().filter(|_| cx.is_committed) {
            let mut tx = cx.app.db.begin_for(cx.caller.share()).await?;
            once.keep(&cx.app, &mut tx, now, &answer).step("keep answer").await?;
            tx.commit().step("commit").await?;
        } else if !line.reads() && line.audited && !omits_event && !cx.is_committed {
            return Err(Error::internal(anyhow::anyhow!("{} did not begin its write", line.name)));
        }
        // The end of a read is no commit.
        let span = if cx.tx.writes() { Span::step("commit") } else { Span::default() };
        if cx.tx.writes() && line.audited && !omits_event {
            cx.app.commit(cx.tx, line.effect, at.organization()).recorded(span).await?;
        } else {
            cx.tx.commit().recorded(span).await?;
        }
        cx.counts.committed();
        let render = || render(line, &cx.app, &cx.parts, answer);
        Ok(Span::step("render").run(render))
    }
}

impl Admitted {
    /// Waits for the turn of a line `in_turn`. A caller who is refused delays no other.
    async fn turn(&self) -> Result<Option<Turn>> {
        let Self { line, place, app, caller, parts, .. } = self;
        if !line.in_turn || app.db.writes_alone() {
            return Ok(None);
        }
        place.authorize(caller, &mut app.db.read(), line.permission).await?;
        let mut parts = Parts::clone(parts);
        let values = RawPathParams::from_request_parts(&mut parts, &()).await;
        let values = values.map_err(Error::internal)?;
        let values: Vec<&str> = values.iter().map(|(_, value)| value).collect();
        Turns::of(app).take(format!("{} {}", line.object(), values.join("/"))).await.map(Some)
    }
}

impl Admitted {
    /// Waits until changes of the same object on other connections have ended: the state before,
    /// `If-Match` and what the change keeps are then the present ones. SQLite has only one writer.
    async fn hold(&self, tx: &mut Conn, organization: Option<OrganizationId>) -> Result<()> {
        // A POST below the organization itself adds to it, and changes nothing that it read.
        let adds = self.line.method == Method::POST && self.line.object() == ORGANIZATION;
        if tx.writes_alone() || !tx.writes() || adds {
            return Ok(());
        }
        let mut parts = Parts::clone(&self.parts);
        let values = RawPathParams::from_request_parts(&mut parts, &()).await;
        let values = values.map_err(Error::internal)?;
        // The slug and the ID of an organization name the same one, as do the forms of a UUID.
        let others = values.iter().filter(|(name, _)| *name != "org");
        let others = others.map(|(_, value)| {
            value.parse::<Uuid>().map_or_else(|_| value.to_owned(), |id| id.to_string())
        });
        let others: Vec<String> = others.collect();
        let organization = organization.map(|id| id.to_string()).unwrap_or_default();
        let object = format!("{} {organization} {}", self.line.object(), others.join("/"));
        let lock = sha256(object.as_bytes());
        let lock = i64::from_be_bytes(std::array::from_fn(|at| lock[at]));
        tx.q("SELECT 1 FROM pg_advisory_xact_lock($1)").bind(lock).exec().await?;
        Ok(())
    }
}

/// Renders a response, in the media type of the line's protocol if it has one.
fn render(line: &Line, app: &App, parts: &Parts, answer: Answer) -> Response {
    let mut response = answer.render(app.settings.base_path(), &parts.method, &parts.headers);
    if let Some(protocol) = line.protocol
        && let Some(media_type) = response.headers_mut().get_mut(header::CONTENT_TYPE)
    {
        *media_type = HeaderValue::from_static(protocol.media_type);
    }
    response
}

/// Returns the GET line whose response is the state before. It has the same path, or, for an action
/// such as `/licenses/{id}/revoke`, the path of the target.
fn reader_before(
    line: &Line,
    operation: &dyn AnyOperation,
    readers: &Readers,
) -> Option<Arc<dyn AnyOperation>> {
    let names_itself = is_put(line) && line.path.ends_with('}');
    if line.reads() || line.own_transaction || operation.makes() && !names_itself {
        return None;
    }
    let readers = readers.get()?;
    let path = match line.method {
        Method::POST => line.path.rsplit_once('/')?.0,
        _ => line.path,
    };
    readers.get(path).cloned()
}

fn is_put(line: &Line) -> bool {
    line.method == Method::PUT
}

/// Checks `If-Match` against the current state, if there is one.
fn check_if_match(parts: &Parts, tag: Option<&HeaderValue>) -> Result<()> {
    let matches = |tag| has_tag(&parts.headers, header::IF_MATCH, tag);
    if !parts.headers.contains_key(header::IF_MATCH) || tag.is_some_and(matches) {
        return Ok(());
    }
    let detail = "The object has changed since `If-Match` was read; read it again and retry.";
    let current = tag.and_then(|tag| tag.to_str().ok());
    Err(Error::new(ProblemCode::PreconditionFailed, detail).with("current", current))
}

/// Reads the whole body, if it is JSON and not too large.
pub async fn read_body(parts: &Parts, body: axum::body::Body, limit: usize) -> Result<Bytes> {
    let too_large = || {
        let detail = format!("The body must have at most {limit} bytes.");
        Error::new(ProblemCode::TooLarge, detail)
    };
    // A client that announces too large a body need not send it.
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let bytes = axum::body::to_bytes(body, limit).await.map_err(|error| {
        let cause = std::error::Error::source(&error);
        match cause.is_some_and(|c| c.is::<http_body_util::LengthLimitError>()) {
            true => too_large(),
            false => Error::bad_request("The body is incomplete."),
        }
    })?;
    let json = parts.headers.get(header::CONTENT_TYPE).is_none_or(is_json);
    if !json && !bytes.is_empty() {
        let detail = "Send the body as JSON in UTF-8, with `Content-Type: application/json`.";
        return Err(Error::new(ProblemCode::UnsupportedMediaType, detail));
    }
    Ok(bytes)
}

/// Whether a media type is JSON or one of its kinds (RFC 6839, section 3.1), encoded in UTF-8.
fn is_json(media_type: &header::HeaderValue) -> bool {
    let Ok(text) = media_type.to_str() else { return false };
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next().unwrap_or_default();
    let other = |part: String| {
        let charset = part.strip_prefix("charset=").map(|charset| charset.trim_matches('"'));
        charset.is_some_and(|charset| charset != "utf-8" && charset != "utf8")
    };
    (essence == "application/json"
        || essence.starts_with("application/") && essence.ends_with("+json"))
        && !parts.any(other)
}

fn true_value() -> header::HeaderValue {
    header::HeaderValue::from_static("true")
}
