//! Tags: the vendor's own marks of an object, by which lists are filtered.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use sqlx::types::Json;

use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Record;
use crate::kernel::text::Tag;

/// The tags of an object: a sorted set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Tags(Json<BTreeSet<Tag>>);

/// The maximum number of tags of an object.
const TAGS: usize = 50;

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tags = BTreeSet::deserialize(deserializer)?;
        match tags.len() {
            n if n > TAGS => {
                let rule = format!("must have at most {TAGS} different tags (got {n})");
                Err(de::Error::custom(rule))
            }
            _ => Ok(Self(Json(tags))),
        }
    }
}

impl JsonSchema for Tags {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Tags".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let tag = generator.subschema_for::<Tag>();
        json_schema!({"type": "array", "items": tag, "maxItems": TAGS})
    }
}

impl<R: Record> Rows<'_, R> {
    /// Keeps the rows that have the tag in this column. Keeps all rows without a tag.
    pub fn tagged(self, tag: Option<&Tag>, column: &'static str) -> Self {
        let Some(tag) = tag else { return self };
        let (before, after) = if self.is_sqlite() {
            (" AND EXISTS (SELECT 1 FROM json_each(", ") AS tag WHERE tag.value = ?)")
        } else {
            (" AND ", " @> jsonb_build_array(CAST(? AS TEXT))")
        };
        self.sql(before).sql(column).and(after, tag.as_str())
    }
}
