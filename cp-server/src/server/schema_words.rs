//! The schemas of the OpenAPI document in words, for the pages and the command line.

use serde_json::{Map, Value};

/// The members of an object; none of any other value.
pub fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// Returns the schema behind a reference.
pub fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let schema = match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([one, _]) if one.get("$ref").is_some() => one,
        _ => schema,
    };
    let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

/// Returns the type of a schema in words: `string (uuid)`, `list of Group`, `free or pro`.
pub fn kind_of(document: &Value, schema: &Value) -> String {
    if schema["type"] == "array" {
        return format!("list of {}", kind_of(document, &schema["items"]));
    }
    if let Some(options) = schema["anyOf"].as_array() {
        let options: Vec<String> = options.iter().map(|one| kind_of(document, one)).collect();
        return options.join(" or ");
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        let inner = resolved(document, schema);
        return if inner.get("enum").is_some() {
            kind_of(document, inner)
        } else {
            name.to_owned()
        };
    }
    if let Some(options) = schema["enum"].as_array() {
        let options: Vec<&str> = options.iter().filter_map(Value::as_str).collect();
        return options.join(" or ");
    }
    let kinds = match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    };
    match schema["format"].as_str() {
        Some(format) => format!("{kinds} ({format})"),
        None => kinds,
    }
}
