//! How an export is written: JSON or NDJSON, chunk by chunk.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use serde::Serialize;
use sqlx::FromRow;
use tokio::sync::mpsc::Sender;
use uuid::Uuid;

use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Record;
use crate::kernel::db::values::Row;
use crate::kernel::error::Error;

/// A row that is listed with its parent, which it is joined to.
pub trait Child: Row + Serialize + Send + Sync {
    /// The parent's member that lists its children.
    const MEMBER: &'static str;
    /// The join, from the parent's table.
    const FROM: &'static str;
    const COLUMNS: &'static str;
    /// The column, by its name in the answer, that is null where a parent has no child.
    const PRESENT: &'static str;
}

/// A record, and one of its children.
pub struct WithChild<R, C>(R, Option<C>);

impl<'r, D: sqlx::Row, R, C> FromRow<'r, D> for WithChild<R, C>
where
    R: FromRow<'r, D>,
    C: FromRow<'r, D> + Child,
    &'static str: sqlx::ColumnIndex<D>,
    Uuid: sqlx::Decode<'r, D::Database> + sqlx::Type<D::Database>,
{
    fn from_row(row: &'r D) -> sqlx::Result<Self> {
        let present = row.try_get::<Option<Uuid>, _>(C::PRESENT)?;
        Ok(Self(R::from_row(row)?, present.map(|_| C::from_row(row)).transpose()?))
    }
}

/// How large a chunk becomes before it is sent.
const CHUNK: usize = 64 * 1024;
/// How long a reader may take for a chunk: an old state of the database is not child for ever.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Lines,
}

impl Form {
    /// NDJSON for whoever says so; JSON for everybody else.
    pub fn of(request: &HeaderMap) -> Self {
        let accepted =
            request.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let lines = accepted.flat_map(|list| list.split(',')).any(|range| {
            let name = range.split(';').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case(Self::Lines.media_type())
        });
        if lines { Self::Lines } else { Self::Json }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// Why an export ended early.
pub enum Broken {
    /// Its reader went away.
    Left,
    Failed(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<sqlx::Error> for Broken {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Writes members, or lines of them, into a channel of few places.
pub struct Writer {
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
    pub fn new(form: Form, chunks: Sender<std::io::Result<Bytes>>) -> Self {
        Self { form, chunks, chunk: Vec::new(), is_open: false }
    }

    /// A member that is the first of the rows, or null.
    pub async fn one<R: Record + Serialize>(
        &mut self,
        name: &'static str,
        rows: Rows<'_, R>,
    ) -> Result<(), Broken> {
        let item = rows.opt().await?;
        self.member(name, &item)?;
        self.flush(CHUNK).await
    }

    /// A member that is a list of all the rows.
    pub async fn many<R: Record, T: Serialize>(
        &mut self,
        name: &'static str,
        rows: Rows<'_, R>,
        into: impl Fn(R) -> T,
    ) -> Result<(), Broken> {
        let mut rows = rows.stream().await?;
        let mut is_first = true;
        self.open_list(name);
        while let Some(row) = rows.next().await {
            self.item(name, is_first, &into(row?)).await?;
            is_first = false;
        }
        self.close_list();
        Ok(())
    }

    /// A member that is a list which is there already.
    pub async fn all<T: Serialize>(
        &mut self,
        name: &'static str,
        items: &[T],
    ) -> Result<(), Broken> {
        self.open_list(name);
        for (n, item) in items.iter().enumerate() {
            self.item(name, n == 0, item).await?;
        }
        self.close_list();
        Ok(())
    }

    async fn item<T: Serialize>(
        &mut self,
        name: &'static str,
        is_first: bool,
        item: &T,
    ) -> Result<(), Broken> {
        match self.form {
            Form::Lines => self.member(name, item)?,
            Form::Json => {
                if !is_first {
                    self.text(",");
                }
                self.value(item)?;
            }
        }
        self.flush(CHUNK).await
    }

    /// A member that is a list of records, each with a list of what is in its keeping.
    pub async fn tree<R: Record + Serialize, C: Child>(
        &mut self,
        name: &'static str,
        rows: Rows<'_, WithChild<R, C>>,
    ) -> Result<(), Broken>
    where
        WithChild<R, C>: Row,
    {
        let mut rows = rows.stream().await?;
        let mut current = None;
        let mut is_first = true;
        self.open_list(name);
        while let Some(row) = rows.next().await {
            let WithChild(record, child) = row?;
            if current != Some(record.key()) {
                self.close_record(current.is_some());
                match self.form {
                    Form::Lines => {
                        self.text(&format!("{{\"kind\":\"{name}\",\"data\":"));
                    }
                    Form::Json if current.is_some() => self.text(","),
                    Form::Json => {}
                }
                self.value(&record)?;
                // The record's last brace gives way to one more member.
                self.chunk.pop();
                self.text(&format!(",\"{}\":[", C::MEMBER));
                (current, is_first) = (Some(record.key()), true);
            }
            if let Some(child) = child {
                if !is_first {
                    self.text(",");
                }
                self.value(&child)?;
                is_first = false;
            }
            self.flush(CHUNK).await?;
        }
        self.close_record(current.is_some());
        self.close_list();
        Ok(())
    }

    /// The last member, which tells that nothing is missing.
    pub async fn end(&mut self, now: DateTime<Utc>) -> Result<(), Broken> {
        self.member("exported_at", &now)?;
        if self.form == Form::Json {
            self.text("}\n");
        }
        self.flush(0).await
    }

    /// Breaks the connection: a part must not pass for the whole.
    pub async fn fail(&self) {
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
                self.text("\n");
                Ok(())
            }
        }
    }

    fn name(&mut self, name: &'static str) {
        let before = if std::mem::replace(&mut self.is_open, true) { ',' } else { '{' };
        self.text(&format!("{before}\"{name}\":"));
    }

    /// In JSON a list has a beginning and an end; each line of NDJSON stands for itself.
    fn open_list(&mut self, name: &'static str) {
        if self.form == Form::Json {
            self.name(name);
            self.text("[");
        }
    }

    fn close_list(&mut self) {
        if self.form == Form::Json {
            self.text("]");
        }
    }

    fn close_record(&mut self, is_open: bool) {
        if is_open {
            self.text(if self.form == Form::Json { "]}" } else { "]}}\n" });
        }
    }

    fn text(&mut self, text: &str) {
        self.chunk.extend(text.as_bytes());
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
