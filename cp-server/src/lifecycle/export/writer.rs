//! How an export is written: JSON or NDJSON, chunk by chunk.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc::Sender;

use crate::kernel::error::Error;
use crate::kernel::query::Rows;
use crate::kernel::record::Record;

/// The lines of an export: one row or many, the member's name, the record that is read and what it
/// is told as, its condition, the time that `since` and `until` narrow, the order.
macro_rules! sections {
    (@item $row:ty) => { $row };
    (@item $row:ty, $item:ty) => { $item };
    (@into) => { |row, _| row };
    (@into $into:expr) => { $into };
    ($(
        $count:ident $name:ident: $row:ty $(as $item:ty = $into:expr)?, $condition:literal
        $(, during $time:literal)? $(, order $order:literal)?;
    )+) => {
        async fn write(mut tx: Conn, asked: &Asked, out: &mut Writer) -> Result<(), Broken> {
            $(
                let rows = tx.select::<$row>($condition).bind(asked.organization);
                $(let rows = asked.during($time, rows);)?
                $(let rows = rows.sql(" ORDER BY ").sql($order);)?
                let into: fn($row, DateTime<Utc>) -> sections!(@item $row $(, $item)?) =
                    sections!(@into $($into)?);
                out.$count(stringify!($name), rows, |row| into(row, asked.now)).await?;
            )+
            out.end(asked.now).await
        }

        impl JsonSchema for Export {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                "Export".into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let mut members = serde_json::Map::new();
                $(
                    let item = generator.subschema_for::<sections!(@item $row $(, $item)?)>();
                    members.insert(stringify!($name).into(), shape::$count(&item));
                )+
                members.insert("exported_at".into(), <DateTime<Utc>>::json_schema(generator).into());
                schemars::json_schema!({"type": "object", "properties": members})
            }
        }
    };
}
pub(super) use sections;

/// What a member of the JSON document is.
pub(super) mod shape {
    use schemars::Schema;
    use serde_json::{Value, json};

    pub(in super::super) fn one(item: &Schema) -> Value {
        json!({"anyOf": [item, {"type": "null"}]})
    }

    pub(in super::super) fn many(item: &Schema) -> Value {
        json!({"type": "array", "items": item})
    }
}

/// How large a chunk becomes before it is sent.
const CHUNK: usize = 64 * 1024;
/// How long a reader may take for a chunk: an old state of the database is not kept for ever.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Lines,
}

impl Form {
    /// NDJSON for whoever says so; JSON for everybody else.
    pub(super) fn of(request: &HeaderMap) -> Self {
        let accepted =
            request.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let lines = accepted.flat_map(|list| list.split(',')).any(|range| {
            let name = range.split(';').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case(Self::Lines.media_type())
        });
        if lines { Self::Lines } else { Self::Json }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// Why an export ended early.
pub(super) enum Broken {
    /// Its reader went away.
    Left,
    Failed(Error),
}

impl From<sqlx::Error> for Broken {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Writes members, or lines of them, into a channel of few places.
pub(super) struct Writer {
    form: Form,
    chunks: Sender<std::io::Result<Bytes>>,
    chunk: Vec<u8>,
    is_open: bool,
}

/// One line of NDJSON.
#[derive(Serialize)]
struct Line<'a, T> {
    kind: &'static str,
    data: &'a T,
}

impl Writer {
    pub(super) fn new(form: Form, chunks: Sender<std::io::Result<Bytes>>) -> Self {
        Self { form, chunks, chunk: Vec::new(), is_open: false }
    }

    /// A member that is the first of the rows, or null.
    pub(super) async fn one<R: Record, T: Serialize>(
        &mut self,
        name: &'static str,
        rows: Rows<'_, R>,
        into: impl Fn(R) -> T,
    ) -> Result<(), Broken> {
        let item = rows.opt().await?.map(into);
        self.member(name, &item)?;
        self.flush(CHUNK).await
    }

    /// A member that is a list of all the rows.
    pub(super) async fn many<R: Record, T: Serialize>(
        &mut self,
        name: &'static str,
        rows: Rows<'_, R>,
        into: impl Fn(R) -> T,
    ) -> Result<(), Broken> {
        let mut rows = rows.stream().await?;
        if self.form == Form::Json {
            self.name(name);
            self.chunk.push(b'[');
        }
        let mut is_first = true;
        while let Some(row) = rows.next().await {
            let item = into(row?);
            match self.form {
                Form::Lines => self.member(name, &item)?,
                Form::Json => {
                    if !is_first {
                        self.chunk.push(b',');
                    }
                    self.value(&item)?;
                }
            }
            is_first = false;
            self.flush(CHUNK).await?;
        }
        if self.form == Form::Json {
            self.chunk.push(b']');
        }
        Ok(())
    }

    /// The last member, which tells that nothing is missing.
    pub(super) async fn end(&mut self, now: DateTime<Utc>) -> Result<(), Broken> {
        self.member("exported_at", &now)?;
        if self.form == Form::Json {
            self.chunk.extend(b"}\n");
        }
        self.flush(0).await
    }

    /// Breaks the connection: a part must not pass for the whole.
    pub(super) async fn fail(&self) {
        let error = std::io::Error::other("the export could not be finished");
        let _ = tokio::time::timeout(PATIENCE, self.chunks.send(Err(error))).await;
    }

    fn member<T: Serialize>(&mut self, name: &'static str, item: &T) -> Result<(), Broken> {
        match self.form {
            Form::Json => {
                self.name(name);
                self.value(item)
            }
            Form::Lines => {
                self.value(&Line { kind: name, data: item })?;
                self.chunk.push(b'\n');
                Ok(())
            }
        }
    }

    fn name(&mut self, name: &'static str) {
        let before = if std::mem::replace(&mut self.is_open, true) { ',' } else { '{' };
        self.chunk.extend(format!("{before}\"{name}\":").bytes());
    }

    fn value<T: Serialize>(&mut self, item: &T) -> Result<(), Broken> {
        serde_json::to_writer(&mut self.chunk, item)
            .map_err(|error| Broken::Failed(Error::internal(error)))
    }

    /// Sends what there is, once it is more than `least`.
    async fn flush(&mut self, least: usize) -> Result<(), Broken> {
        if self.chunk.len() <= least {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        match tokio::time::timeout(PATIENCE, self.chunks.send(Ok(chunk))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Broken::Left),
            Err(_) => Err(Broken::Failed(Error::unavailable("The reader takes no more.", 0))),
        }
    }
}
