//! Bodies of requests that follow from their schemas alone.

use std::sync::LazyLock;

use cp_server::kernel::http::line::Line;
use cp_server::kernel::http::openapi;
use serde_json::{Map, Value, json};

use super::operations;

/// The document without examples. Its creation is slower than a request.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| openapi::document(&operations().published(), "", &Value::Null));

/// Returns a body with the required members of the line's input; `word` is in each of its strings
/// without a pattern.
pub fn sample(line: &Line, word: &str) -> Value {
    let document = &*DOCUMENT;
    let method = line.method.as_str().to_lowercase();
    let body = &document["paths"][line.full_path()][method]["requestBody"];
    value_of(document, &body["content"]["application/json"]["schema"], line.name, word)
}

/// Returns a body that changes the first member of the line's input, or the name if there is one.
pub fn sample_patch(line: &Line) -> Value {
    let document = &*DOCUMENT;
    let body = &document["paths"][line.full_path()]["patch"]["requestBody"];
    let reference = body["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
    let members = &document.pointer(&reference[1..]).unwrap()["properties"];
    if members["name"].is_object() {
        return json!({"name": "Renamed"});
    }
    let (name, schema) = members.as_object().unwrap().iter().next().unwrap();
    let mut schema = schema.clone();
    // An optional member may also be null.
    if let Some(types) = schema["type"].as_array() {
        schema["type"] = types[0].clone();
    }
    json!({name.as_str(): value_of(document, &schema, line.name, "another")})
}

fn value_of(document: &Value, schema: &Value, line: &str, word: &str) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return value_of(document, document.pointer(&reference[1..]).unwrap(), line, word);
    }
    if let Some(known) = schema["enum"].as_array() {
        return known[0].clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let member = |name: &Value| {
                let name = name.as_str().unwrap();
                (name.to_owned(), value_of(document, &schema["properties"][name], line, word))
            };
            Value::Object(required.iter().map(member).collect::<Map<_, _>>())
        }
        Some("string") if schema["pattern"].is_string() => schema["examples"][0].clone(),
        Some("string") => json!(word),
        Some("integer") => json!(schema["minimum"].as_i64().unwrap_or(1).max(1)),
        Some("boolean") => json!(false),
        Some("array") if schema["minItems"].is_number() => schema["examples"][0].clone(),
        Some("array") => json!([]),
        _ => panic!("there is no example for {line}, and its schema has {schema}: add one"),
    }
}
