//! Reading a resource inside another operation's transaction.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};

use super::app::App;
use super::caller::Caller;
use super::db::Conn;
use super::error::Result;

pub(super) type Readers = Arc<OnceLock<HashMap<&'static str, Reader>>>;

/// Runs the GET line of a path inside another operation's transaction: what `If-Match` is
/// compared with, and what the audit event keeps as the state before.
pub(super) type Reader = Arc<dyn for<'a> Fn(Reading<'a>) -> Read<'a> + Send + Sync>;
pub(super) type Read<'a> = Pin<Box<dyn Future<Output = (Conn, Result<Option<Bytes>>)> + Send + 'a>>;

pub(super) struct Reading<'a> {
    pub(super) app: &'a App,
    pub(super) caller: &'a Caller,
    pub(super) parts: &'a Arc<Parts>,
    pub(super) tx: Conn,
    pub(super) now: DateTime<Utc>,
}
