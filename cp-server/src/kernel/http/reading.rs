//! Reads of a resource in the transaction of another operation.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};

use crate::kernel::access::caller::{Caller, Permission};
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::kernel::http::answer::{Answer, etag};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::erased::AnyOperation;
use crate::kernel::http::operation::Source;

/// The operations of the GET lines, by their paths. `If-Match` is compared with the result of one, and
/// the audit event records it as the state before.
pub(in crate::kernel) type Readers = Arc<OnceLock<HashMap<&'static str, Arc<dyn AnyOperation>>>>;

/// The state of a resource before a change: the body of its GET line, and the entity tag.
pub(in crate::kernel) struct Before {
    pub(in crate::kernel) body: Bytes,
    pub(in crate::kernel) tag: HeaderValue,
}

pub(in crate::kernel) struct Reading<'a> {
    pub(in crate::kernel) app: &'a App,
    pub(in crate::kernel) caller: &'a Caller,
    pub(in crate::kernel) parts: &'a Arc<Parts>,
    pub(in crate::kernel) tx: Conn,
    pub(in crate::kernel) now: DateTime<Utc>,
}

/// Runs the operation of a GET line in the transaction of another operation.
pub(in crate::kernel) async fn read_again(
    reader: &dyn AnyOperation,
    reading: Reading<'_>,
) -> (Conn, Result<Option<Before>>) {
    let Reading { app, caller, parts, mut tx, now } = reading;
    let place = match reader.place(&mut Parts::clone(parts)) {
        Ok(place) => place,
        Err(error) => return (tx, Err(error)),
    };
    // The calling line has already authorized the caller, for more than reading.
    let kernel = Caller::system("kernel");
    let at = match place.authorize(&kernel, &mut tx, Permission::ANY).await {
        Ok(at) => at,
        Err(error) => return (tx, Err(error)),
    };
    let (app, caller, parts) = (app.clone(), caller.clone(), parts.clone());
    let cx = Cx { completes: false, ..Cx::new(app, caller, parts, at, tx, now) };
    let (cx, answer) = reader.run(cx, &*place, Source::Query { query: "", about: "" }, false).await;
    let before = answer.map(|Answer { body, tag, .. }| {
        body.map(|body| Before { tag: tag.unwrap_or_else(|| etag(&body)), body })
    });
    (cx.tx, before)
}
