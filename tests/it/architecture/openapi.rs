use std::collections::BTreeSet;

use cp_server::kernel::http::openapi;
use cp_server::server::examples::EXAMPLES;
use serde_json::{Value, json};

fn document() -> Value {
    // The declarations are published once in a process, those of the tests included.
    crate::world::operations().published();
    openapi::document(&cp_server::operations(), "", &EXAMPLES)
}

/// The members of a schema, wherever it leads, that are instants and no `Moment`.
fn other_instants(schema: &Value, definitions: &Value, path: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            if members.get("format") == Some(&json!("date-time"))
                && !members.contains_key("examples")
            {
                found.push(path.to_owned());
            }
            if let Some(name) = members.get("$ref").and_then(Value::as_str) {
                let name = name.rsplit('/').next().unwrap();
                other_instants(&definitions[name], definitions, path, found);
            }
            for (name, member) in members {
                other_instants(member, definitions, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| other_instants(item, definitions, path, found));
        }
        _ => {}
    }
}

#[test]
fn every_instant_that_a_caller_sends_is_a_moment() {
    let (mut schemas, mut found) = (openapi::schemas(), Vec::new());
    for line in crate::world::operations().published().table {
        let Some(input) = line.shapes(&mut schemas).input else { continue };
        let input = serde_json::to_value(&input).unwrap();
        let definitions = serde_json::to_value(schemas.definitions()).unwrap();
        other_instants(&input, &definitions, line.name, &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn names_of_schemas_differ_by_more_than_a_number() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_numbered = base != name && schemas.contains_key(base);
        assert!(
            !is_numbered,
            "{name}: rename the schema of one type, as `schemars` or `text_enum!` can"
        );
    }
}

#[test]
fn every_reference_of_the_document_resolves() {
    let document = document();
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 20, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("references stay within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                references.insert(reference.to_owned());
            }
            // A SCIM resource has a member of this name.
            let others = members.iter().filter(|(name, _)| !name.starts_with("example"));
            others.for_each(|(_, value)| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[test]
fn document_lists_every_operation_once() {
    let document = document();
    let operations: Vec<&Value> = operations(&document).collect();
    let ids: BTreeSet<&str> =
        operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let table: BTreeSet<&str> =
        cp_server::operations().table.iter().map(|line| line.name).collect();
    assert_eq!(ids, table);
    assert_eq!(operations.len(), cp_server::operations().table.len(), "no id stands twice");
}

#[test]
fn every_schema_of_the_document_is_one() {
    let document = document();
    // Generated clients name the type of all refusals after it.
    assert!(document["components"]["schemas"]["Problem"]["properties"]["code"].is_object());
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        // In place, so that references between them resolve.
        let mut schema = schema.clone();
        schema["components"] = document["components"].clone();
        if let Err(error) = jsonschema::draft202012::new(&schema) {
            panic!("{name}: {error}");
        }
    }
}

/// The operations of the document.
fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    let paths = document["paths"].as_object().unwrap().values();
    paths.flat_map(|path| path.as_object().unwrap().values())
}

fn is_described(schema: &Value) -> bool {
    schema["description"].as_str().is_some_and(|text| !text.is_empty())
}

/// The schema's alternatives, each behind its references: a schema that is none of them is one.
fn alternatives<'d>(document: &'d Value, schema: &'d Value) -> Vec<&'d Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return alternatives(document, document.pointer(&reference[1..]).unwrap());
    }
    let inner = ["anyOf", "oneOf", "allOf"].into_iter().find_map(|name| schema[name].as_array());
    match inner {
        Some(inner) => inner.iter().flat_map(|one| alternatives(document, one)).collect(),
        None => vec![schema],
    }
}

/// The fields without a description of a request, its inner objects included.
fn undescribed(document: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    for schema in alternatives(document, schema) {
        if schema["items"].is_object() {
            undescribed(document, &schema["items"], path, found);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let inner = alternatives(document, field);
            if !is_described(field) && !inner.iter().any(|schema| is_described(schema)) {
                found.push(path.clone());
            }
            undescribed(document, field, &path, found);
        }
    }
}

#[test]
fn every_request_field_parameter_and_tag_is_described() {
    let (document, mut found) = (document(), Vec::new());
    for tag in document["tags"].as_array().unwrap() {
        if !is_described(tag) {
            found.push(format!("tag {}: a doc comment in its `routes!`", tag["name"]));
        }
    }
    for operation in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if !is_described(parameter) {
                found.push(format!("{name}: {}", parameter["name"]));
            }
        }
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        undescribed(&document, body, name, &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Pages and bytes have no example: their readers are not clients of the API.
const WITHOUT_EXAMPLE: [&str; 2] = ["text/html", "application/octet-stream"];

#[test]
fn every_request_and_answer_has_an_example() {
    let (document, mut found) = (document(), Vec::new());
    for operation in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        let answers = operation["responses"].as_object().unwrap().iter();
        let answers = answers.filter(|(status, _)| status.starts_with('2')).map(|(_, one)| one);
        for holder in answers.chain(operation.get("requestBody")) {
            for (media_type, content) in holder["content"].as_object().into_iter().flatten() {
                let is_exempt = WITHOUT_EXAMPLE.contains(&&**media_type);
                if !is_exempt && content.get("example").is_none() {
                    found.push(format!("{name}: {media_type}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "run UPDATE=1 cargo test -p tests the_committed: {found:#?}");
}
