//! A value of a row, and its form in a backup.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A value of a row, as SQLite stores it. In JSON it is null, a number or a string; bytes are
/// `{"b": base64}`. A string is one allocation, which SQLite's driver uses as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Integer(i64),
    Text(Arc<str>),
    Blob(Vec<u8>),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Blob(bytes) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("b", &STANDARD.encode(bytes))?;
                map.end()
            }
        }
    }
}

/// Not derived: for an untagged enumeration serde first buffers each value, which dominated the
/// time of a restore.
impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, an integer, a string or bytes")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Cell, E> {
        i64::try_from(value).map(Cell::Integer).map_err(E::custom)
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Text(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell, A::Error> {
        let Some(("b", text)) = map.next_entry::<&str, Cow<'_, str>>()? else {
            return Err(de::Error::custom("bytes have one member, `b`"));
        };
        if map.next_key::<&str>()?.is_some() {
            return Err(de::Error::custom("bytes have one member, `b`"));
        }
        STANDARD.decode(&*text).map(Cell::Blob).map_err(|_| de::Error::custom("`b` is not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_is_read_as_it_was_written() {
        let cells = [
            Cell::Null,
            Cell::Integer(i64::MIN),
            Cell::Integer(i64::MAX),
            Cell::Text("a\"\n\u{1f600}".into()),
            Cell::Blob(vec![0, 255, 10]),
            Cell::Blob(Vec::new()),
        ];
        let text = serde_json::to_string(&cells).unwrap();
        assert!(text.ends_with(r#"{"b":"AP8K"},{"b":""}]"#), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Cell>>(&text).unwrap(), cells);
        for text in
            ["true", "1.5", "[1]", "{}", r#"{"c":""}"#, r#"{"b":"!"}"#, r#"{"b":"","b":""}"#]
        {
            assert!(serde_json::from_str::<Cell>(text).is_err(), "{text}");
        }
    }
}
