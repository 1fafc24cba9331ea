use std::collections::BTreeSet;

use cp_server::kernel::http::openapi;
use serde_json::{Value, json};

fn document() -> Value {
    cp_server::kernel::http::openapi::document(&cp_server::operations().table, "")
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
    for line in cp_server::operations().table {
        let Some(input) = line.shapes(&mut schemas).input else { continue };
        let input = serde_json::to_value(&input).unwrap();
        let definitions = serde_json::to_value(schemas.definitions()).unwrap();
        other_instants(&input, &definitions, line.name, &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
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
            members.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[test]
fn the_document_tells_every_line_once() {
    let document = document();
    let paths = document["paths"].as_object().unwrap().values();
    let operations: Vec<&Value> =
        paths.flat_map(|path| path.as_object().unwrap().values()).collect();
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
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        // In place, so that references between them resolve.
        let mut schema = schema.clone();
        schema["components"] = document["components"].clone();
        if let Err(error) = jsonschema::draft202012::new(&schema) {
            panic!("{name}: {error}");
        }
    }
}
