//! The percentages of a limit at which it is announced.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use sqlx::types::Json;

/// The most percentages of a limit.
const MOST: usize = 4;

/// Up to 4 percentages, 1 to 100, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Percentages(Json<Vec<i64>>);

impl Percentages {
    /// Returns the percentages, the lowest first.
    pub fn all(&self) -> &[i64] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Percentages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut all = Vec::<i64>::deserialize(deserializer)?;
        all.sort_unstable();
        all.dedup();
        if !(1..=MOST).contains(&all.len()) {
            let rule = format!("must have 1 to {MOST} percentages (got {})", all.len());
            return Err(de::Error::custom(rule));
        }
        match all.iter().find(|one| !(1..=100).contains(*one)) {
            Some(one) => {
                Err(de::Error::custom(format!("must have percentages from 1 to 100 (got {one})")))
            }
            None => Ok(Self(Json(all))),
        }
    }
}

impl JsonSchema for Percentages {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Percentages".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array", "minItems": 1, "maxItems": MOST, "examples": [[80, 95]],
            "items": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 100},
        })
    }
}
