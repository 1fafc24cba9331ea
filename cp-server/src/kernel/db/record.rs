//! Rows and enumerations: declared once, for both databases, for JSON and for the schemas.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::kernel::error::{Error, Result};

/// A row of one table.
pub trait Record: crate::kernel::db::values::Row {
    const TABLE: &'static str;
    /// Every column that the struct reads. Never `*`: a replica that prepared `SELECT *` fails
    /// once a migration adds a column.
    const COLUMNS: &'static str;
    /// The column of [`Record::key`].
    const KEY: &'static str;
    /// The ID by which lists are ordered and continued.
    fn key(&self) -> Uuid;
}

/// Declares a struct that is a table row and a JSON object of the API. The first field is its ID. A
/// field may stand for an expression: `is_default: bool = "EXISTS (…)"`.
#[macro_export]
macro_rules! record {
    (@column $table:ident $field:ident) => { concat!(stringify!($table), ".", stringify!($field)) };
    (@column $table:ident $field:ident $sql:literal) => { concat!($sql, " AS ", stringify!($field)) };
    (@column $table:ident $field:ident $sql:ident!()) => {
        concat!($sql!(), " AS ", stringify!($field))
    };
    ($(#[$meta:meta])* $name:ident in $table:ident {
        $(#[$m0:meta])* $first:ident: $t0:ty,
        $($(#[$m:meta])* $field:ident: $type:ty $(= $sql:tt $(! $of:tt)?)?,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema, serde::Serialize, sqlx::FromRow)]
        pub struct $name { $(#[$m0])* pub $first: $t0, $($(#[$m])* pub $field: $type,)* }
        impl $crate::kernel::db::record::Record for $name {
            const TABLE: &'static str = stringify!($table);
            const COLUMNS: &'static str = concat!(
                stringify!($table), ".", stringify!($first)
                $(, ", ", $crate::record!(@column $table $field $($sql $(! $of)?)?))*
            );
            const KEY: &'static str =
                concat!(stringify!($table), ".", stringify!($first));
            fn key(&self) -> uuid::Uuid {
                self.$first.0
            }
        }
    };
}

/// Declares an enumeration that is a lower-case string in JSON and in both databases. Parsing
/// ignores the case. `as "…"` names the schema of an enumeration whose own name another schema has.
#[macro_export]
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($variants:tt)+ }) => {
        $crate::text_enum!($(#[$meta])* $name as (stringify!($name)) { $($variants)+ });
    };
    ($(#[$meta:meta])* $name:ident as $schema:tt { $($variants:tt)+ }) => {
        $crate::text_enum!(@values $(#[$meta])* $name { $($variants)+ });
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $schema.into()
            }
            // Two slices may have enumerations of the same name.
            fn schema_id() -> std::borrow::Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($name)).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let known: Vec<&str> = Self::ALL.iter().map(|v| v.as_str()).collect();
                schemars::json_schema!({"type": "string", "enum": known})
            }
        }
    };
    // The values of an enumeration of the contract, which is open for its readers. Both have one schema.
    ($(#[$meta:meta])* $name:ident of $open:ty {
        $($(#[$m:meta])* $variant:ident = $text:literal),+ $(,)?
    }) => {
        $crate::text_enum!(@values $(#[$meta])* $name { $($(#[$m])* $variant = $text),+ });
        impl From<$name> for $open {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => <$open>::$variant),+ }
            }
        }
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$open as schemars::JsonSchema>::schema_name()
            }
            fn schema_id() -> std::borrow::Cow<'static, str> {
                <$open as schemars::JsonSchema>::schema_id()
            }
            fn json_schema(schemas: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$open as schemars::JsonSchema>::json_schema(schemas)
            }
        }
    };
    (@values $(#[$meta:meta])* $name:ident {
        $($(#[$m:meta])* $variant:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$m])* $variant),+ }
        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|v| v.as_str().eq_ignore_ascii_case(text));
                found.copied().ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("must be one of {}", known.join(", "))
                })
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl<DB: sqlx::Database> sqlx::Type<DB> for $name
        where
            str: sqlx::Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <str as sqlx::Type<DB>>::type_info()
            }
            fn compatible(ty: &DB::TypeInfo) -> bool {
                <str as sqlx::Type<DB>>::compatible(ty)
            }
        }
        impl<'q, DB: sqlx::Database> sqlx::Encode<'q, DB> for $name
        where
            &'static str: sqlx::Encode<'q, DB>,
        {
            fn encode_by_ref(
                &self,
                buffer: &mut DB::ArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                <&'static str as sqlx::Encode<'q, DB>>::encode_by_ref(&self.as_str(), buffer)
            }
        }
        impl<'r, DB: sqlx::Database> sqlx::Decode<'r, DB> for $name
        where
            &'r str: sqlx::Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                <&'r str as sqlx::Decode<'r, DB>>::decode(value)?.parse().map_err(Into::into)
            }
        }
    };
}

/// The largest JSON value of a caller that is stored, in bytes.
///
/// A caller's value enters a column through [`Object::bounded`] and its like, through
/// [`Object::changed`], or by parsing the column's type. Each of them checks the size. Stored
/// values are read whatever their size.
pub const JSON_LIMIT: usize = 64 * 1024;

/// Returns the size of a value as JSON, in bytes.
pub(crate) fn size_of(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Only a map with keys that are not strings could fail, and no column holds one.
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}

pub(crate) fn too_large(size: usize) -> String {
    format!("must be at most {JSON_LIMIT} bytes of JSON (got {size})")
}

pub(crate) fn refusal(field: &'static str, size: usize) -> Error {
    Error::invalid(field, format!("`{field}` {}.", too_large(size)))
        .with("limit", JSON_LIMIT)
        .with("size", size)
}

/// Declares a JSON column: its name, its content, and its schema.
#[macro_export]
macro_rules! json_columns {
    ($($(#[doc = $doc:literal])+ $name:ident($inner:ty);)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(sqlx::types::Json<$inner>);

        impl $name {
            /// Checks the value of this field of a request.
            ///
            /// # Errors
            /// Fails with 422 when it is larger than [`JSON_LIMIT`](crate::kernel::db::record::JSON_LIMIT).
            pub fn bounded(field: &'static str, inner: $inner) -> $crate::kernel::error::Result<Self> {
                match $crate::kernel::db::record::size_of(&inner) {
                    size if size > $crate::kernel::db::record::JSON_LIMIT => Err($crate::kernel::db::record::refusal(field, size)),
                    _ => Ok(Self(sqlx::types::Json(inner))),
                }
            }

            pub fn into_inner(self) -> $inner {
                self.0.0
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let inner = <$inner>::deserialize(d)?;
                match $crate::kernel::db::record::size_of(&inner) {
                    size if size > $crate::kernel::db::record::JSON_LIMIT => {
                        Err(<D::Error as serde::de::Error>::custom($crate::kernel::db::record::too_large(size)))
                    }
                    _ => Ok(Self(sqlx::types::Json(inner))),
                }
            }
        }

        impl std::ops::Deref for $name {
            type Target = $inner;
            fn deref(&self) -> &$inner {
                &self.0
            }
        }
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(g: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$inner>::json_schema(g)
            }
        }
    )+};
}

crate::json_columns! {
    /// An object with members of any kind.
    Object(serde_json::Map<String, serde_json::Value>);
    /// Quantities by metric; null means unlimited.
    Quantities(std::collections::BTreeMap<String, Option<i64>>);
    /// Permission codes.
    Codes(Vec<String>);
    /// Several strings.
    Texts(Vec<String>);
    /// Any JSON.
    Any(serde_json::Value);
}

impl Object {
    /// Changes the object, which is a field of a request. An object from before the limit may be
    /// larger, as long as it does not grow.
    ///
    /// # Errors
    /// Fails with 422 when it is larger than [`JSON_LIMIT`].
    pub fn changed(
        self,
        field: &'static str,
        change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
    ) -> Result<Self> {
        let before = size_of(&self);
        let mut members = self.into_inner();
        change(&mut members);
        match size_of(&members) {
            size if size > JSON_LIMIT.max(before) => Err(refusal(field, size)),
            _ => Ok(Self(sqlx::types::Json(members))),
        }
    }
}

impl Object {
    /// Merges a field of a request into the object, one level deep: null removes a member.
    ///
    /// # Errors
    /// Fails with 422 when the result is larger than [`JSON_LIMIT`].
    pub fn merged(self, field: &'static str, patch: Map<String, Value>) -> Result<Self> {
        self.changed(field, |members| overlay(members, patch))
    }

    /// Returns the object without these members.
    #[must_use]
    pub fn without(self, names: &[&str]) -> Self {
        let mut members = self.into_inner();
        members.retain(|name, _| !names.contains(&&**name));
        Self(sqlx::types::Json(members))
    }
}

/// Sets members; null removes one.
pub fn overlay(object: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        if value.is_null() {
            object.remove(&name);
        } else {
            object.insert(name, value);
        }
    }
}

/// Codes that the server itself chose or knows.
impl From<Vec<String>> for Codes {
    fn from(codes: Vec<String>) -> Self {
        Self(sqlx::types::Json(codes))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn object(size: usize) -> Map<String, Value> {
        // {"k":"…"}
        Map::from_iter([("k".to_owned(), json!("x".repeat(size - 8)))])
    }

    #[test]
    fn object_above_the_size_limit_is_refused() {
        assert!(Object::bounded("metadata", object(JSON_LIMIT)).is_ok());
        let read = |members| serde_json::from_value::<Object>(Value::Object(members));
        assert!(read(object(JSON_LIMIT)).is_ok());
        let rule = "must be at most 65536 bytes of JSON (got 65537)";
        assert_eq!(read(object(JSON_LIMIT + 1)).unwrap_err().to_string(), rule);
        let set = |members| move |object: &mut Map<String, Value>| *object = members;
        let changed = Object::default().changed("metadata", set(object(JSON_LIMIT + 1)));
        for refused in [changed, Object::bounded("metadata", object(JSON_LIMIT + 1))] {
            let problem = refused.unwrap_err().document();
            assert_eq!((problem.status, problem.field.as_deref()), (422, Some("metadata")));
            assert_eq!(problem.detail, format!("`metadata` {rule}."));
            assert_eq!(
                (&problem.extra["limit"], &problem.extra["size"]),
                (&json!(65536), &json!(65537))
            );
        }
        // An object from before the limit.
        let old = Object(sqlx::types::Json(object(2 * JSON_LIMIT)));
        for (size, is_fine) in
            [(2 * JSON_LIMIT, true), (JSON_LIMIT + 1, true), (2 * JSON_LIMIT + 1, false)]
        {
            assert_eq!(
                old.clone().changed("metadata", set(object(size))).is_ok(),
                is_fine,
                "{size}"
            );
        }
    }
}
