//! Rows and enumerations: named once, known to both databases, to JSON and to the schemas.

use uuid::Uuid;

/// A row of one table.
pub trait Record: super::query::Row {
    const TABLE: &'static str;
    /// Every column that the struct reads. Never `*`: a replica that prepared `SELECT *` fails
    /// once a migration adds a column.
    const COLUMNS: &'static str;
    /// The column of [`Record::key`].
    const KEY: &'static str;
    /// The id that lists are ordered and continued by.
    fn key(&self) -> Uuid;
}

/// Declares a struct that is a row of a table and a JSON answer. The first field is its id; a
/// field may stand for an expression: `is_default: bool = "EXISTS (…)"`.
#[macro_export]
macro_rules! record {
    (@column $table:ident $field:ident) => { concat!(stringify!($table), ".", stringify!($field)) };
    (@column $table:ident $field:ident $sql:literal) => { concat!($sql, " AS ", stringify!($field)) };
    ($(#[$meta:meta])* $name:ident in $table:ident {
        $(#[$m0:meta])* $first:ident: $t0:ty,
        $($(#[$m:meta])* $field:ident: $type:ty $(= $sql:literal)?,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema, serde::Serialize, sqlx::FromRow)]
        pub struct $name { $(#[$m0])* pub $first: $t0, $($(#[$m])* pub $field: $type,)* }
        impl $crate::kernel::record::Record for $name {
            const TABLE: &'static str = stringify!($table);
            const COLUMNS: &'static str = concat!(
                stringify!($table), ".", stringify!($first)
                $(, ", ", $crate::record!(@column $table $field $($sql)?))*
            );
            const KEY: &'static str =
                concat!(stringify!($table), ".", stringify!($first));
            fn key(&self) -> uuid::Uuid {
                self.$first.0
            }
        }
    };
}

/// Declares an enumeration that is lower-case text in JSON and in both databases, and read
/// case-insensitively.
#[macro_export]
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$m:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
                    format!("is not one of {}", known.join(", "))
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
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            // Two slices may have words of the same name.
            fn schema_id() -> std::borrow::Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($name)).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let known: Vec<&str> = Self::ALL.iter().map(|v| v.as_str()).collect();
                schemars::json_schema!({"type": "string", "enum": known})
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

/// Declares a JSON column: its name, what it holds, and its schema.
macro_rules! json_columns {
    ($($(#[doc = $doc:literal])+ $name:ident($inner:ty);)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub sqlx::types::Json<$inner>);

        impl std::ops::Deref for $name {
            type Target = $inner;
            fn deref(&self) -> &$inner {
                &self.0
            }
        }
        impl std::ops::DerefMut for $name {
            fn deref_mut(&mut self) -> &mut $inner {
                &mut self.0
            }
        }
        impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                Self(sqlx::types::Json(inner))
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

json_columns! {
    /// An object with members of any kind.
    Object(serde_json::Map<String, serde_json::Value>);
    /// Quantities by metric; null stands for unlimited.
    Quantities(std::collections::BTreeMap<String, Option<i64>>);
    /// Codes of permissions.
    Codes(Vec<String>);
    /// Several texts.
    Texts(Vec<String>);
    /// Any JSON.
    Any(serde_json::Value);
}
