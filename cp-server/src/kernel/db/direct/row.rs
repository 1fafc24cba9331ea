//! The rows of [`Direct`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::types::{Value, ValueRef};
use sqlx::sqlite::{SqliteColumn, SqliteRow};
use sqlx::{Column, ColumnIndex, Decode, Row, Sqlite, TypeInfo, ValueRef as _};

use super::failures::failure;
use super::marker::Direct;
use super::values::{DirectValueRef, Kind};

/// The approximate size of a number, a time or null, in bytes.
pub(in super::super) const SMALL: usize = 8;

/// The columns of a statement.
#[derive(Debug)]
pub(super) struct Columns(Vec<DirectColumn>);

#[derive(Clone, Debug)]
pub struct DirectColumn {
    ordinal: usize,
    name: String,
}

impl Columns {
    pub(super) fn of(statement: &rusqlite::Statement<'_>) -> Arc<Self> {
        let names = statement.column_names().into_iter().map(str::to_owned).enumerate();
        Arc::new(Self(names.map(|(ordinal, name)| DirectColumn { ordinal, name }).collect()))
    }
}

impl Column for DirectColumn {
    type Database = Direct;

    fn ordinal(&self) -> usize {
        self.ordinal
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn type_info(&self) -> &Kind {
        // In SQLite, each value has its own type.
        &Kind::Null
    }
}

/// A row in memory.
#[derive(Debug)]
pub struct DirectRow {
    columns: Arc<Columns>,
    values: Vec<Value>,
    /// The column after the last one that was asked for by name: most rows are read in their order.
    next: AtomicUsize,
}

impl DirectRow {
    fn new(columns: Arc<Columns>, values: Vec<Value>) -> Self {
        Self { columns, values, next: AtomicUsize::new(0) }
    }

    pub(super) fn read(row: &rusqlite::Row<'_>, columns: &Arc<Columns>) -> sqlx::Result<Self> {
        let value = |at| {
            Ok(match row.get_ref(at).map_err(failure)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number),
                ValueRef::Real(number) => Value::Real(number),
                ValueRef::Text(bytes) => text(bytes),
                ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
            })
        };
        let values = (0..columns.0.len()).map(value).collect::<sqlx::Result<_>>()?;
        Ok(Self::new(columns.clone(), values))
    }

    /// Returns a function that takes over the rows of a connection that sqlx drives.
    pub fn reader() -> impl FnMut(&SqliteRow) -> sqlx::Result<Self> + Send {
        let mut columns = None;
        move |row| {
            let columns = columns.get_or_insert_with(|| {
                let columns = row.columns().iter();
                let column = |column: &SqliteColumn| DirectColumn {
                    ordinal: column.ordinal(),
                    name: column.name().to_owned(),
                };
                Arc::new(Columns(columns.map(column).collect()))
            });
            let values = (0..columns.0.len()).map(|at| taken_over(row, at));
            let values = values.collect::<sqlx::Result<_>>()?;
            Ok(Self::new(columns.clone(), values))
        }
    }

    /// The approximate size of the row, in bytes.
    pub fn weight(&self) -> usize {
        let weight = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::Null | Value::Integer(_) | Value::Real(_) => SMALL,
        };
        self.values.iter().map(weight).sum()
    }
}

fn taken_over(row: &SqliteRow, at: usize) -> sqlx::Result<Value> {
    let value = row.try_get_raw(at)?;
    if value.is_null() {
        return Ok(Value::Null);
    }
    let taken = match value.type_info().name() {
        "REAL" => <f64 as Decode<Sqlite>>::decode(value).map(Value::Real),
        "TEXT" => <&[u8] as Decode<Sqlite>>::decode(value).map(text),
        "BLOB" => <Vec<u8> as Decode<Sqlite>>::decode(value).map(Value::Blob),
        _ => <i64 as Decode<Sqlite>>::decode(value).map(Value::Integer),
    };
    taken.map_err(sqlx::Error::Decode)
}

/// Text that is not UTF-8 is refused where it is decoded.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Blob(bytes.to_vec()),
    }
}

impl Row for DirectRow {
    type Database = Direct;

    fn columns(&self) -> &[DirectColumn] {
        &self.columns.0
    }

    fn try_get_raw<I: ColumnIndex<Self>>(&self, index: I) -> sqlx::Result<DirectValueRef<'_>> {
        Ok(DirectValueRef(&self.values[index.index(self)?]))
    }
}

impl ColumnIndex<DirectRow> for usize {
    fn index(&self, row: &DirectRow) -> sqlx::Result<usize> {
        let len = row.values.len();
        let out = sqlx::Error::ColumnIndexOutOfBounds { len, index: *self };
        if *self < len { Ok(*self) } else { Err(out) }
    }
}

impl ColumnIndex<DirectRow> for &str {
    fn index(&self, row: &DirectRow) -> sqlx::Result<usize> {
        let columns = &row.columns.0;
        let next = row.next.load(Ordering::Relaxed).min(columns.len());
        let found = (next..columns.len()).chain(0..next).find(|at| columns[*at].name == **self);
        let place = found.ok_or_else(|| sqlx::Error::ColumnNotFound((*self).to_owned()))?;
        row.next.store(place + 1, Ordering::Relaxed);
        Ok(place)
    }
}
