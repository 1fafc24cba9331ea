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

use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Record;
use crate::kernel::db::values::Row;
use crate::kernel::error::Error;

/// The lines of an export: a member's name and how it is read.
///
/// `one` row or `many`: the record and what it is told as, its condition, the time that `since` and
/// `until` narrow, the order, and whether it must be asked for. A `tree` tells with each record what
/// is in its keeping, from a join in which a record's rows stand together. `all` is what a function
/// reads of a table.
macro_rules! sections {
    (@write all $name:ident $tx:ident $asked:ident $out:ident
        $item:ty, of $table:literal, from $read:ident
    ) => {
        $out.all(stringify!($name), &$read(&mut $tx, $asked).await?).await?;
    };
    (@write tree $name:ident $tx:ident $asked:ident $out:ident
        $row:ty, $keeping:ident: $kept:ty, $from:literal, order $order:literal
    ) => {
        let rows = with::<$row, $kept>(&mut $tx, $from).bind($asked.organization);
        let rows = rows.sql(" ORDER BY ").sql($order);
        $out.tree(stringify!($name), stringify!($keeping), rows).await?;
    };
    (@write $count:ident $name:ident $tx:ident $asked:ident $out:ident
        $row:ty $(as $item:ty = $into:expr)?, $condition:literal $(, during $time:literal)?,
        order $order:literal $(, if $wanted:ident)?
    ) => {
        if true $(&& $asked.$wanted())? {
            let rows = $tx.select::<$row>($condition).bind($asked.organization);
            $(let rows = $asked.during($time, rows);)?
            let rows = rows.sql(" ORDER BY ").sql($order);
            let into: fn($row, DateTime<Utc>) -> sections!(@item $row $(, $item)?) =
                sections!(@into $($into)?);
            $out.$count(stringify!($name), rows, |row| into(row, $asked.now)).await?;
        }
    };
    (@item $row:ty) => { $row };
    (@item $row:ty, $item:ty) => { $item };
    (@into) => { |row, _| row };
    (@into $into:expr) => { $into };

    (@tables all $item:ty, of $table:literal, from $read:ident) => { &[$table] };
    (@tables tree $row:ty, $keeping:ident: $kept:ty, $($rest:tt)*) => {
        &[<$row as Record>::TABLE, <$kept as Kept>::TABLE]
    };
    (@tables $count:ident $row:ty $(as $item:ty = $into:expr)?, $condition:literal $($rest:tt)*) => {
        &[<$row as Record>::TABLE]
    };

    (@schema all $generator:ident $item:ty, of $table:literal, from $read:ident) => {
        shape::many(&$generator.subschema_for::<$item>())
    };
    (@schema tree $generator:ident
        $row:ty, $keeping:ident: $kept:ty, $from:literal, order $order:literal
    ) => {{
        let row = $generator.subschema_for::<$row>();
        shape::tree(&row, stringify!($keeping), &$generator.subschema_for::<$kept>())
    }};
    (@schema $count:ident $generator:ident
        $row:ty $(as $item:ty = $into:expr)?, $condition:literal $(, during $time:literal)?,
        order $order:literal $(, if $wanted:ident)?
    ) => {
        shape::$count(&$generator.subschema_for::<sections!(@item $row $(, $item)?)>())
    };

    ($($count:ident $name:ident { $($line:tt)+ })+) => {
        async fn write(mut tx: Conn, asked: &Asked, out: &mut Writer) -> Result<(), Broken> {
            $(sections!(@write $count $name tx asked out $($line)+);)+
            out.end(asked.now).await
        }

        /// What each section reads: tables, or joins that begin with one.
        const SECTIONS: &[&[&str]] = &[$(sections!(@tables $count $($line)+)),+];

        impl JsonSchema for Export {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                "Export".into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let mut members = serde_json::Map::new();
                $(
                    let item = sections!(@schema $count generator $($line)+);
                    members.insert(stringify!($name).into(), item);
                )+
                members.insert("exported_at".into(), <DateTime<Utc>>::json_schema(generator).into());
                schemars::json_schema!({"type": "object", "properties": members})
            }
        }
    };
}
pub(super) use sections;

/// Something in the keeping of a record that it is joined to.
pub(super) trait Kept: Row + Serialize {
    const TABLE: &'static str;
    const COLUMNS: &'static str;
    /// The column, as it is called in the answer, that is null where nothing is kept.
    const THERE: &'static str;
}

/// A record, and one of the things in its keeping.
pub(super) struct With<R, K>(R, Option<K>);

impl<'r, D: sqlx::Row, R, K> FromRow<'r, D> for With<R, K>
where
    R: FromRow<'r, D>,
    K: FromRow<'r, D> + Kept,
    &'static str: sqlx::ColumnIndex<D>,
    Uuid: sqlx::Decode<'r, D::Database> + sqlx::Type<D::Database>,
{
    fn from_row(row: &'r D) -> sqlx::Result<Self> {
        let there = row.try_get::<Option<Uuid>, _>(K::THERE)?;
        Ok(Self(R::from_row(row)?, there.map(|_| K::from_row(row)).transpose()?))
    }
}

pub(super) fn with<'c, R: Record, K: Kept>(
    tx: &'c mut Conn,
    from: &'static str,
) -> Rows<'c, With<R, K>>
where
    With<R, K>: Row,
{
    tx.select_from(&format!("{}, {}", R::COLUMNS, K::COLUMNS), from)
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
    pub(super) async fn all<T: Serialize>(
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
    pub(super) async fn tree<R: Record + Serialize, K: Kept>(
        &mut self,
        name: &'static str,
        keeping: &'static str,
        rows: Rows<'_, With<R, K>>,
    ) -> Result<(), Broken>
    where
        With<R, K>: Row,
    {
        let mut rows = rows.stream().await?;
        let mut current = None;
        let mut is_first = true;
        self.open_list(name);
        while let Some(row) = rows.next().await {
            let With(record, kept) = row?;
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
                self.text(&format!(",\"{keeping}\":["));
                (current, is_first) = (Some(record.key()), true);
            }
            if let Some(kept) = kept {
                if !is_first {
                    self.text(",");
                }
                self.value(&kept)?;
                is_first = false;
            }
            self.flush(CHUNK).await?;
        }
        self.close_record(current.is_some());
        self.close_list();
        Ok(())
    }

    /// The last member, which tells that nothing is missing.
    pub(super) async fn end(&mut self, now: DateTime<Utc>) -> Result<(), Broken> {
        self.member("exported_at", &now)?;
        if self.form == Form::Json {
            self.text("}\n");
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
