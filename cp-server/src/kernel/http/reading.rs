//! Reads of a resource in the transaction of another operation.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};

use crate::kernel::access::caller::Caller;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::Result;

pub(in crate::kernel) type Readers = Arc<OnceLock<HashMap<&'static str, Reader>>>;

/// Runs the GET line of a path in the transaction of another operation. `If-Match` is compared with
/// the result, and the audit event records it as the state before.
pub(in crate::kernel) type Reader = Arc<dyn for<'a> Fn(Reading<'a>) -> Read<'a> + Send + Sync>;
pub(in crate::kernel) type Read<'a> =
    Pin<Box<dyn Future<Output = (Conn, Result<Option<Before>>)> + Send + 'a>>;

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
