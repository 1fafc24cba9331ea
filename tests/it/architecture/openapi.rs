use std::collections::BTreeSet;

use serde_json::Value;

use super::is_current;

fn document() -> Value {
    cp_server::kernel::openapi::document(&cp_server::routes().table, "")
}

/// `UPDATE=1 cargo test -p tests openapi` writes it anew.
#[test]
fn the_committed_document_is_current() {
    let current = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    is_current("cp-server/openapi.json", &current, "openapi");
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
    let table: BTreeSet<&str> = cp_server::routes().table.iter().map(|line| line.name).collect();
    assert_eq!(ids, table);
    assert_eq!(operations.len(), cp_server::routes().table.len(), "no id stands twice");
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
