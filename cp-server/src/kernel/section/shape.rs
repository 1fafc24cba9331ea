//! What a member of the JSON document is.

use schemars::Schema;
use serde_json::{Value, json};

pub(super) fn one(item: &Schema) -> Value {
    json!({"anyOf": [item, {"type": "null"}]})
}

pub(super) fn many(item: &Schema) -> Value {
    json!({"type": "array", "items": item})
}

pub(super) fn tree(item: &Schema, keeping: &str, kept: &Schema) -> Value {
    let with = json!({"type": "object", "properties": {keeping: many(kept)}});
    json!({"type": "array", "items": {"allOf": [item, with]}})
}
