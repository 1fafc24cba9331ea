//! Events: the log of audit events, read forward.
//!
//! # Design
//! The stream *is* the log. An event is visible when it has its position, so a reader that remembers
//! the last position misses none and reads none twice, on every replica. Rejected: a second table of
//! messages, which could differ from the log.
//!
//! An event names what changed, without values. A reader gets the state itself by the API, with the
//! reader's own permissions.
//!
//! `rows.rs` reads events and `types.rs` lists their types. `feed.rs` reports new events to the requests
//! that wait, `reading.rs` is one reader, and `stream.rs` writes server-sent events.

pub mod feed;
pub mod reading;
pub mod rows;
mod stream;
pub mod types;

use std::time::Duration;

use axum::http::StatusCode;
use cp_contracts::Event;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use self::reading::{EventPage, Reading};
use self::rows::Reach;
use self::types::{EventType, Types};
use crate::kernel::access::caller::{CallerScope, Scope};
use crate::kernel::access::place::{Org, PathTarget};
use crate::kernel::access::platform::Platform;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Answer, Output, StreamOf, Streamed};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::http::waiting::Waiting;

crate::routes! {
    /// What happened, in the order of the log, for programs that follow changes.
    events:
    /// Lists the events of the whole platform, oldest first.
    ///
    /// With `wait` the request waits for the next event. With `Accept: text/event-stream` the answer is
    /// a stream of server-sent events, whose IDs are positions; it ends after an hour, and the client
    /// continues with `Last-Event-ID`.
    GET "/events" AUDIT_READ => list_all;
    /// Lists the organization's events, oldest first. `wait` and server-sent events are those of
    /// `GET /events`.
    GET "/organizations/{org}/events" AUDIT_READ => list, unmetered;
    /// Lists the types of events.
    GET "/event-types" ANY => list_types, unmetered;
}

/// The longest wait for an event, in seconds.
const LONGEST: i64 = 25;
/// The most events of a page.
const MOST: i64 = 500;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// The position after which the events begin: `next` of the previous page, or -1 for the beginning
    /// of the log. Without it, only later events are returned.
    after: Option<Between<-1, { i64::MAX }>>,
    /// Up to 50 types of events, separated by commas. A trailing `.*` selects all types of a resource,
    /// such as `licenses.*`. All types when absent.
    types: Option<String>,
    /// The seconds to wait for an event when there is none, from 0 to 25; 0 when absent.
    ///
    /// A credential has at most 4 waiting requests, and an organization at most 256. Beyond them the
    /// server answers at once.
    #[serde(default = "no_wait")]
    wait: Between<0, LONGEST>,
    /// The maximum number of events, from 1 to 500; 50 when absent.
    #[serde(default = "usual")]
    limit: Between<1, MOST>,
}

fn no_wait() -> Between<0, LONGEST> {
    Between(0)
}

fn usual() -> Between<1, MOST> {
    Between(50)
}

/// A page, or a stream of server-sent events.
#[derive(Debug)]
pub enum Followed {
    Page(EventPage),
    Stream(Streamed),
}

impl Output for Followed {
    const STATUS: StatusCode = StatusCode::OK;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        <EventPage as Output>::schema(generator)
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        match self {
            Self::Page(page) => page.answer(is_audited),
            Self::Stream(stream) => StreamOf::<Event>::new(stream).answer(is_audited),
        }
    }
}

/// The types of events.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EventTypes {
    pub items: Vec<EventType>,
}

async fn list_all(cx: &mut Cx<Scope>, place: Platform, query: EventQuery) -> Result<Followed> {
    follow(cx, place, Reach::All, query).await
}

async fn list(cx: &mut Cx, place: Org, query: EventQuery) -> Result<Followed> {
    let reach = Reach::Organization(cx.at);
    follow(cx, place, reach, query).await
}

async fn list_types(cx: &mut Cx<Scope>, _: CallerScope) -> Result<EventTypes> {
    Ok(EventTypes { items: types::all(&cx.app).to_vec() })
}

async fn follow<P: PathTarget>(
    cx: &mut Cx<P::Authorized>,
    place: P,
    reach: Reach,
    query: EventQuery,
) -> Result<Followed> {
    let types = match query.types.as_deref() {
        Some(text) => Types::listed(&cx.app, text)?,
        None => Types::default(),
    };
    let head = rows::head(&mut cx.tx).await?;
    let after = match last_event_id(cx)?.or(query.after.map(|after| after.0)) {
        Some(after) if after > head => return Err(beyond(after, head)),
        Some(after) => after,
        None => head,
    };
    let mut reading = Reading { app: cx.app.clone(), reach, types, after, limit: query.limit.0 };
    if stream::is_wanted(&cx.parts.headers) {
        let slot = Waiting::of(&cx.app).place(&cx.caller, reach.organization());
        return Ok(Followed::Stream(stream::begin(cx, place, reading, slot)));
    }
    let page = reading.page(&mut cx.tx).await?;
    if !page.items.is_empty() || query.wait.0 == 0 {
        return Ok(Followed::Page(page));
    }
    let slot = Waiting::of(&cx.app).place(&cx.caller, reach.organization());
    let Some(_slot) = slot else { return Ok(Followed::Page(page)) };
    // A request that waits holds no connection.
    cx.release();
    let patience = Duration::from_secs(query.wait.0.unsigned_abs());
    Ok(Followed::Page(reading.next(patience).await?))
}

/// Returns the position in `Last-Event-ID`, from which a client of server-sent events continues.
fn last_event_id<G>(cx: &Cx<G>) -> Result<Option<i64>> {
    let Some(sent) = cx.parts.headers.get("last-event-id") else { return Ok(None) };
    let position = sent.to_str().ok().and_then(|text| text.trim().parse().ok());
    match position.filter(|position| *position >= -1) {
        Some(position) => Ok(Some(position)),
        None => {
            Err(Error::bad_request("The header `Last-Event-ID` must be the position of an event."))
        }
    }
}

fn beyond(after: i64, head: i64) -> Error {
    let detail = format!(
        "`after` must be at most {head}, the position of the last event (got {after}). If the log was \
         restored from a backup, continue from {head} and compare the state."
    );
    Error::invalid("after", detail).with("head", head)
}
