//! The values of SQLite, in the forms in which sqlx stores them.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use rusqlite::types::Value as Stored;
use serde::{Deserialize, Serialize};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::types::Json;
use sqlx::{Arguments, Decode, Encode, Type, TypeInfo, Value, ValueRef};
use uuid::Uuid;

use super::marker::Direct;

/// The kind of a stored value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Integer,
    Real,
    Text,
    Blob,
}

impl Kind {
    fn of(value: &Stored) -> Self {
        match value {
            Stored::Null => Self::Null,
            Stored::Integer(_) => Self::Integer,
            Stored::Real(_) => Self::Real,
            Stored::Text(_) => Self::Text,
            Stored::Blob(_) => Self::Blob,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TypeInfo for Kind {
    fn is_null(&self) -> bool {
        *self == Self::Null
    }

    fn name(&self) -> &str {
        match self {
            Self::Null => "NULL",
            Self::Integer => "INTEGER",
            Self::Real => "REAL",
            Self::Text => "TEXT",
            Self::Blob => "BLOB",
        }
    }
}

/// A value in memory.
#[derive(Clone, Debug)]
pub struct DirectValue(Stored);

impl Value for DirectValue {
    type Database = Direct;

    fn as_ref(&self) -> DirectValueRef<'_> {
        DirectValueRef(&self.0)
    }

    fn type_info(&self) -> Cow<'_, Kind> {
        Cow::Owned(Kind::of(&self.0))
    }

    fn is_null(&self) -> bool {
        self.0 == Stored::Null
    }
}

/// A value of a row.
#[derive(Debug)]
pub struct DirectValueRef<'r>(pub(super) &'r Stored);

impl<'r> DirectValueRef<'r> {
    fn integer(&self) -> Result<i64, BoxDynError> {
        match self.0 {
            Stored::Integer(number) => Ok(*number),
            _ => Err(self.unexpected("an integer")),
        }
    }

    fn real(&self) -> Result<f64, BoxDynError> {
        match self.0 {
            Stored::Real(number) => Ok(*number),
            _ => Err(self.unexpected("a number")),
        }
    }

    fn text(&self) -> Result<&'r str, BoxDynError> {
        match self.0 {
            Stored::Text(text) => Ok(text),
            Stored::Blob(bytes) => Ok(std::str::from_utf8(bytes)?),
            _ => Err(self.unexpected("text")),
        }
    }

    fn bytes(&self) -> Result<&'r [u8], BoxDynError> {
        match self.0 {
            Stored::Text(text) => Ok(text.as_bytes()),
            Stored::Blob(bytes) => Ok(bytes),
            _ => Err(self.unexpected("bytes")),
        }
    }

    fn unexpected(&self, wanted: &str) -> BoxDynError {
        format!("the value is {} instead of {wanted}", Kind::of(self.0)).into()
    }
}

impl<'r> ValueRef<'r> for DirectValueRef<'r> {
    type Database = Direct;

    fn to_owned(&self) -> DirectValue {
        DirectValue(self.0.clone())
    }

    fn type_info(&self) -> Cow<'_, Kind> {
        Cow::Owned(Kind::of(self.0))
    }

    fn is_null(&self) -> bool {
        *self.0 == Stored::Null
    }
}

/// The parameters of a statement.
#[derive(Debug, Default)]
pub struct DirectArguments(pub(in crate::kernel::db) Vec<Stored>);

impl DirectArguments {
    /// Returns the same parameters for a connection that sqlx drives.
    pub(in crate::kernel::db) fn for_sqlx(self) -> sqlx::Result<SqliteArguments> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(self.0.len(), 0);
        for value in self.0 {
            let added = match value {
                Stored::Null => arguments.add(None::<i64>),
                Stored::Integer(number) => arguments.add(number),
                Stored::Real(number) => arguments.add(number),
                Stored::Text(text) => arguments.add(text),
                Stored::Blob(bytes) => arguments.add(bytes),
            };
            added.map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }
}

impl Arguments for DirectArguments {
    type Database = Direct;

    fn reserve(&mut self, additional: usize, _: usize) {
        self.0.reserve(additional);
    }

    fn add<'t, T: Encode<'t, Direct> + Type<Direct>>(
        &mut self,
        value: T,
    ) -> Result<(), BoxDynError> {
        let before = self.0.len();
        match value.encode(&mut self.0) {
            Ok(IsNull::No) => Ok(()),
            Ok(IsNull::Yes) => {
                self.0.push(Stored::Null);
                Ok(())
            }
            Err(error) => {
                self.0.truncate(before);
                Err(error)
            }
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'q, T: Encode<'q, Direct> + Type<Direct> + 'q> Encode<'q, Direct> for Option<T> {
    fn encode_by_ref(&self, buffer: &mut Vec<Stored>) -> Result<IsNull, BoxDynError> {
        match self {
            Some(value) => value.encode_by_ref(buffer),
            None => Ok(IsNull::Yes),
        }
    }
}

/// Types that are stored as one kind, and read from some kinds.
macro_rules! stored {
    ($($type:ty as $kind:ident from $($from:ident)|+ { $write:expr } { $read:expr })+) => {$(
        impl Type<Direct> for $type {
            fn type_info() -> Kind {
                Kind::$kind
            }
            fn compatible(kind: &Kind) -> bool {
                matches!(kind, $(Kind::$from)|+)
            }
        }
        impl Encode<'_, Direct> for $type {
            fn encode_by_ref(&self, buffer: &mut Vec<Stored>) -> Result<IsNull, BoxDynError> {
                let write: fn(&$type) -> Stored = $write;
                buffer.push(write(self));
                Ok(IsNull::No)
            }
        }
        impl Decode<'_, Direct> for $type {
            fn decode(value: DirectValueRef<'_>) -> Result<Self, BoxDynError> {
                let read: fn(DirectValueRef<'_>) -> Result<$type, BoxDynError> = $read;
                read(value)
            }
        }
    )+};
}

stored! {
    bool as Integer from Integer
        { |value| Stored::Integer((*value).into()) } { |value| Ok(value.integer()? != 0) }
    i16 as Integer from Integer
        { |value| Stored::Integer((*value).into()) } { |value| Ok(value.integer()?.try_into()?) }
    i32 as Integer from Integer
        { |value| Stored::Integer((*value).into()) } { |value| Ok(value.integer()?.try_into()?) }
    i64 as Integer from Integer
        { |value| Stored::Integer(*value) } { |value| value.integer() }
    f64 as Real from Real
        { |value| Stored::Real(*value) } { |value| value.real() }
    String as Text from Text
        { |value| Stored::Text(value.clone()) } { |value| Ok(value.text()?.to_owned()) }
    Vec<u8> as Blob from Blob | Text
        { |value| Stored::Blob(value.clone()) } { |value| Ok(value.bytes()?.to_vec()) }
    Uuid as Blob from Blob | Text
        { |value| Stored::Blob(value.as_bytes().to_vec()) }
        { |value| Ok(Uuid::from_slice(value.bytes()?)?) }
    DateTime<Utc> as Text from Text
        { |value| Stored::Text(value.to_rfc3339_opts(SecondsFormat::AutoSi, false)) }
        { |value| Ok(value.text()?.parse()?) }
    NaiveDate as Text from Text
        { |value| Stored::Text(value.format("%F").to_string()) }
        { |value| Ok(NaiveDate::parse_from_str(value.text()?, "%F")?) }
}

impl Type<Direct> for str {
    fn type_info() -> Kind {
        Kind::Text
    }
}

impl Encode<'_, Direct> for &str {
    fn encode_by_ref(&self, buffer: &mut Vec<Stored>) -> Result<IsNull, BoxDynError> {
        buffer.push(Stored::Text((*self).to_owned()));
        Ok(IsNull::No)
    }
}

impl<'r> Decode<'r, Direct> for &'r str {
    fn decode(value: DirectValueRef<'r>) -> Result<Self, BoxDynError> {
        value.text()
    }
}

impl Type<Direct> for [u8] {
    fn type_info() -> Kind {
        Kind::Blob
    }

    fn compatible(kind: &Kind) -> bool {
        <Vec<u8> as Type<Direct>>::compatible(kind)
    }
}

impl Encode<'_, Direct> for &[u8] {
    fn encode_by_ref(&self, buffer: &mut Vec<Stored>) -> Result<IsNull, BoxDynError> {
        buffer.push(Stored::Blob((*self).to_vec()));
        Ok(IsNull::No)
    }
}

impl<'r> Decode<'r, Direct> for &'r [u8] {
    fn decode(value: DirectValueRef<'r>) -> Result<Self, BoxDynError> {
        value.bytes()
    }
}

impl<T> Type<Direct> for Json<T> {
    fn type_info() -> Kind {
        Kind::Text
    }
}

impl<T: Serialize> Encode<'_, Direct> for Json<T> {
    fn encode_by_ref(&self, buffer: &mut Vec<Stored>) -> Result<IsNull, BoxDynError> {
        buffer.push(Stored::Text(serde_json::to_string(&self.0)?));
        Ok(IsNull::No)
    }
}

impl<'r, T: Deserialize<'r> + 'r> Decode<'r, Direct> for Json<T> {
    fn decode(value: DirectValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(serde_json::from_slice(value.bytes()?)?))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Sqlite, SqliteConnection};

    use super::*;
    use crate::kernel::db::direct::DirectRow;

    /// Checks that sqlx stores the value in the same form, and that both read it.
    #[expect(clippy::disallowed_methods, reason = "the driver itself is compared")]
    async fn check<T>(conn: &mut SqliteConnection, value: T)
    where
        T: Clone + PartialEq + fmt::Debug + Send + Unpin,
        T: for<'q> Encode<'q, Direct> + Type<Direct> + for<'r> Decode<'r, Direct>,
        T: for<'q> Encode<'q, Sqlite> + Type<Sqlite>,
    {
        let mut ours = DirectArguments::default();
        ours.add(value.clone()).unwrap();
        let row = sqlx::query("SELECT $1").bind(value.clone()).fetch_one(conn).await.unwrap();
        let row = DirectRow::reader()(&row).unwrap();
        let theirs: T = sqlx::Row::try_get(&row, 0).unwrap();
        assert_eq!(theirs, value);
        let stored = sqlx::Row::try_get_raw(&row, 0).unwrap();
        assert_eq!(*stored.0, ours.0[0], "{value:?}");
    }

    #[tokio::test]
    async fn value_is_stored_in_the_form_of_sqlx() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let conn = &mut conn;
        for value in [i64::MIN, -1, 0, i64::MAX] {
            check(conn, value).await;
        }
        check(conn, true).await;
        check(conn, 7_i16).await;
        check(conn, -7_i32).await;
        check(conn, 0.1).await;
        for text in ["", "Ünïcode", "'; DROP"] {
            check(conn, text.to_owned()).await;
        }
        check(conn, vec![0, 255, 1]).await;
        check(conn, Uuid::from_u128(7)).await;
        for micros in [0, 1, 1_000, 1_000_000, 1_767_225_600_000_000, -62_135_596_800_000_000] {
            check(conn, DateTime::from_timestamp_micros(micros).unwrap()).await;
        }
        check(conn, NaiveDate::from_ymd_opt(2026, 2, 28).unwrap()).await;
        check(conn, Json(serde_json::json!({"a": [1, null, "x"]}))).await;
        check(conn, None::<i64>).await;
        check(conn, Some(5_i64)).await;
    }
}
