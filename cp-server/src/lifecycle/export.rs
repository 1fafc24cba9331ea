//! The export of an organization: all of its data in one document.
//!
//! # Design
//! The document is one state of the database: one transaction reads all sections. The server writes
//! the document row by row while it reads, into a channel of a few chunks. A slow reader makes the
//! database wait. The slices declare the sections with their tables. The sections follow the order
//! of the composition, with the organization first.

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use tokio::sync::mpsc;

use crate::kernel::access::place::Org;
use crate::kernel::access::shares::Shares;
use crate::kernel::app;
use crate::kernel::db::Conn;
use crate::kernel::declaration::{self, Declaration, Export as Exported};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{StreamOf, Streamed};
use crate::kernel::http::cx::Cx;
use crate::kernel::section::{Broken, ExportRequest, Form, Section, Window, Writer};

crate::routes! { organizations:
    /// Exports all data of the organization, without secrets and tokens.
    ///
    /// With `Accept: application/x-ndjson` each line of the export is a JSON object with `kind` and
    /// `data`. `kind` is the member's name in the JSON document. The last line is `exported_at`; an
    /// export without it is incomplete.
    ///
    /// An organization has at most one export at a time. `since` and `until`, both inclusive,
    /// narrow usage and audit events. `include=usage_events` adds single usage events; it requires
    /// the form with one object per line.
    GET "/organizations/{org}/export" ORG_EXPORT => export;
}

/// An export: a document with a member for each section.
#[derive(Debug)]
pub struct Export;

/// The limit on concurrent exports, each of which holds a state of the database for long.
pub struct Exports(Shares);

impl Default for Exports {
    fn default() -> Self {
        Self(Shares::new("exports", 4, 1))
    }
}

impl app::Part for Exports {}

/// The number of chunks that may wait for a slow reader.
const AHEAD: usize = 4;

/// Returns the sections of all slices, in the order of the composition.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    let of = |one: &'static Declaration| match &one.tenant.as_ref()?.export {
        Exported::Section(section) => Some(std::slice::from_ref(section)),
        Exported::Sections(sections) => Some(*sections),
        Exported::Within(_) | Exported::LeftOut(_) => None,
    };
    declaration::all().iter().filter_map(move |one| of(one)).flatten()
}

impl JsonSchema for Export {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Export".into()
    }
    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        let mut members = serde_json::Map::new();
        for section in sections() {
            members.insert(section.name.into(), section.schema(schemas));
        }
        members.insert("exported_at".into(), <DateTime<Utc>>::json_schema(schemas).into());
        schemars::json_schema!({"type": "object", "properties": members})
    }
}

async fn write(mut tx: Conn, request: &ExportRequest, out: &mut Writer) -> Result<(), Broken> {
    for section in sections() {
        section.write(&mut tx, request, out).await?;
    }
    out.end(request.now).await
}

async fn export(cx: &mut Cx, _: Org, window: Window) -> Result<StreamOf<Export>> {
    let form = Form::of(&cx.parts.headers);
    if window.include.is_some() && form == Form::Json {
        let detail = "`include` requires `Accept: application/x-ndjson`: usage events are exported \
                      line by line only.";
        return Err(Error::invalid("include", detail));
    }
    let place = <Exports as app::Part>::of(&cx.app).0.take(&cx.caller, Some(cx.at))?;
    cx.release();
    let mut tx = cx.app.db.snapshot().await?;
    // The first statement fixes the state that is read. The organization may be deleted before it.
    let found: Option<i32> =
        tx.q("SELECT 1 FROM organizations WHERE id = $1").bind(cx.at).value().await?;
    found.ok_or_else(|| Error::not_found("organization"))?;
    let request = ExportRequest { app: cx.app.clone(), organization: cx.at, now: cx.now, window };
    let (chunks, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut out = Writer::new(form, chunks);
        let done = write(tx, &request, &mut out).await;
        drop(place);
        if let Err(Broken::Failed(error)) = done {
            tracing::warn!(%error, organization = %request.organization, "an export failed");
            out.fail().await;
        }
    });
    Ok(StreamOf::new(Streamed { media_type: form.media_type(), chunks: receiver }))
}
