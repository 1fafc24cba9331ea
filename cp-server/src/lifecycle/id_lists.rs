//! Lists of IDs in a query string.

use std::fmt::Display;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// The most IDs of a list.
const MOST: usize = 100;

/// IDs, separated by commas.
#[derive(Clone, Debug)]
pub struct IdList<T>(pub Vec<T>);

impl<T: FromStr> FromStr for IdList<T> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ids: Result<Vec<T>, _> = text.split(',').map(str::parse).collect();
        match ids {
            Ok(ids) if ids.len() <= MOST => Ok(Self(ids)),
            _ => Err(format!("must be at most {MOST} IDs, separated by commas")),
        }
    }
}

impl<'de, T: FromStr> Deserialize<'de> for IdList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<T: Display> JsonSchema for IdList<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IdList".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}
