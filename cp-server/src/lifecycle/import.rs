//! Import: creates and changes objects from lines of NDJSON, each by the operation of the API.
//!
//! # Design
//! The body is received as a whole before the first line is applied. A client that sends all before
//! it reads would otherwise wait for a server that waits for the client. A client that disconnects
//! leaves no part of its file. Some hundred lines share a transaction, in which a refused line is
//! undone alone. The answer is streamed: a client that stops reading ends the work between two
//! transactions. The same file, sent again, finds the objects that it created before.

pub mod answers;
pub mod applied;
pub mod body;
pub mod chunks;
pub mod fields;
pub mod kind;
pub mod kinds;
pub mod references;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use self::chunks::Import;
use crate::kernel::access::shares::Shares;
use crate::kernel::app::Part;
use crate::kernel::error::Result;
use crate::kernel::http::json;
use crate::kernel::http::raw::Raw;

crate::routes! {
    /// The import of objects from other systems.
    imports:
    /// Creates and changes objects from lines of NDJSON, and streams a line of NDJSON for each.
    ///
    /// A line is an object with `kind` and the fields of that kind. It changes the object with the
    /// same `external_id`, plan code, e-mail address or license key, and otherwise creates one. The
    /// answer has `line`, `kind`, `status` (`created`, `updated`, `unchanged` or `refused`), `id` and
    /// `problem`. Its last line is the `summary`; an answer without one is incomplete. A refused line
    /// stops no other line.
    ///
    /// With `?dry_run=true` nothing changes. The answer is the same, without IDs.
    /// A body has at most 64 MiB, and a line at most 64 KiB.
    POST "/imports" IMPORTS_WRITE => run, raw, platform
        returns "application/x-ndjson";
}

/// The limit on concurrent imports.
pub struct Imports(Shares);

impl Default for Imports {
    fn default() -> Self {
        Self(Shares::new("imports", 2, 1))
    }
}

impl Part for Imports {}

/// The answers of chunks that may wait for a slow reader.
const AHEAD: usize = 2;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Whether to report what the import would do, and to change nothing. False when absent.
    #[serde(default)]
    dry_run: bool,
}

async fn run(raw: Raw) -> Result<Response> {
    let query = raw.parts.uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let options: Options = json::read_query(&pairs)?;
    body::check(&raw.parts)?;
    let place = Imports::of(&raw.app).0.take(&raw.caller, None)?;
    let import = Import {
        app: raw.app,
        caller: raw.caller,
        parts: Arc::new(raw.parts),
        is_dry: options.dry_run,
    };
    let (answers, mut arriving) = mpsc::channel::<Bytes>(AHEAD);
    tokio::spawn(async move {
        let _place = place;
        import.run(raw.body, answers).await;
    });
    let answers = stream::poll_fn(move |cx| arriving.poll_recv(cx)).map(Ok::<Bytes, Infallible>);
    let body = Body::from_stream(answers);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
