//! The OpenAPI 3.1 document, generated from the table of operations.

use cp_contracts::{Problem, ProblemCode};
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::kernel::access::caller::Permission;
use crate::kernel::access::place::Exposure;
use crate::kernel::http::line::{BASE, Line, Protocol, Shapes};
use crate::kernel::http::routes::Routes;

/// Creates the generator of the document's schemas, each of which is included once.
pub fn schemas() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.into_generator()
}

/// Returns the part of the document that describes one operation.
pub fn of_line(line: &Line, examples: &Value) -> Value {
    let mut schemas = schemas();
    let paths = paths(std::slice::from_ref(line), &mut schemas, examples);
    json!({"paths": paths, "components": {"schemas": schemas.take_definitions(true)}})
}

fn paths(table: &[Line], schemas: &mut SchemaGenerator, examples: &Value) -> Map<String, Value> {
    let mut paths = Map::new();
    for line in table {
        // A `{*rest}` matches the rest of a path; OpenAPI has no notation for it.
        let path = paths.entry(line.full_path().replace("{*", "{")).or_insert_with(|| json!({}));
        path[line.method.as_str().to_lowercase()] =
            operation(line, line.shapes(schemas), &examples[line.name]);
    }
    paths
}

/// Returns the document of a server with this base URL.
///
/// `examples` has the request and the answer of operations, by their names.
pub fn document(routes: &Routes, base_url: &str, examples: &Value) -> Value {
    let (table, mut schemas) = (&routes.table, schemas());
    let paths = paths(table, &mut schemas, examples);
    let problem = schemas.subschema_for::<Problem>();
    let responses = responses(table, &mut schemas, &problem);
    let codes: Vec<Value> = ProblemCode::ALL
        .iter()
        .map(|code| json!({"code": code.as_str(), "status": code.status(), "title": code.title()}))
        .collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "License authority",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A control plane that manages organizations, workspaces, people, plans, \
                subscriptions and deployments, and mints license tokens.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": if base_url.is_empty() { "/" } else { base_url }}],
        "security": [
            {"serviceToken": []}, {"accessToken": []}, {"session": []}, {"licenseKey": []},
        ],
        "tags": tags(routes),
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "responses": responses,
            "securitySchemes": {
                "serviceToken": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "cpat_…",
                    "description": "A service token: the credential of a machine.",
                },
                "accessToken": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "A person's access token from a trusted identity provider.",
                },
                "licenseKey": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "`License` and a license key: it claims and keeps seats of its own license.",
                },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": "__Host-cp_session",
                    "description": "The cookie of a person's session, which begins at `/login`.",
                },
            },
        },
        "x-problem-codes": codes,
    });
    without_boolean_schemas(&mut document);
    document
}

/// Replaces the schema `true` by `{}`, and drops it where it is the default: generators of clients
/// read no boolean schemas.
fn without_boolean_schemas(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.get("additionalProperties") == Some(&Value::Bool(true)) {
                members.remove("additionalProperties");
            }
            if let Some(Value::Object(properties)) = members.get_mut("properties") {
                for schema in properties.values_mut().filter(|schema| **schema == true) {
                    *schema = json!({});
                }
            }
            if members.get("items") == Some(&Value::Bool(true)) {
                members.insert("items".into(), json!({}));
            }
            members.values_mut().for_each(without_boolean_schemas);
        }
        Value::Array(items) => items.iter_mut().for_each(without_boolean_schemas),
        _ => {}
    }
}

const JSON: &str = "application/json";

/// A refusal, and the lines that may return it. All are problem documents (RFC 9457).
struct Refusal {
    status: &'static str,
    words: &'static str,
    of: fn(&Line) -> bool,
}

impl Refusal {
    /// Returns the name of the response, which is another one for each protocol.
    fn name(&self, protocol: Option<&Protocol>) -> String {
        format!("{}{}", protocol.map_or("Problem", |protocol| protocol.name), self.status)
    }
}

/// Returns the refusals of the document: problem documents, and those of other protocols.
fn responses(
    table: &[Line],
    schemas: &mut SchemaGenerator,
    problem: &Schema,
) -> Map<String, Value> {
    let mut responses = Map::new();
    let mut add = |protocol: Option<&Protocol>, media_type: &str, schema: &Schema| {
        for refusal in &REFUSALS {
            let content = json!({media_type: {"schema": schema}});
            let response = json!({"description": refusal.words, "content": content});
            responses.insert(refusal.name(protocol), response);
        }
    };
    add(None, "application/problem+json", problem);
    if let Some(protocol) = table.iter().find_map(|line| line.protocol) {
        add(Some(protocol), protocol.media_type, &(protocol.schema)(schemas));
    }
    responses
}

const REFUSALS: [Refusal; 15] = [
    Refusal { status: "400", words: "The request is not well-formed.", of: always },
    Refusal { status: "401", words: "A valid credential is required.", of: may_refuse },
    Refusal { status: "403", words: "The caller lacks the permission.", of: may_refuse },
    Refusal { status: "404", words: "The object was not found.", of: is_of_the_api },
    Refusal {
        status: "406",
        words: "No acceptable form of the response exists.",
        of: is_of_the_api,
    },
    Refusal { status: "408", words: "The request took too long.", of: always },
    Refusal { status: "409", words: "The current state does not allow this.", of: changes },
    Refusal { status: "412", words: "The object has changed since If-Match.", of: changes },
    Refusal { status: "413", words: "The request body is too large.", of: changes },
    Refusal { status: "414", words: "The request target is too long.", of: always },
    Refusal { status: "415", words: "The media type is not supported.", of: always },
    Refusal {
        status: "422",
        words: "A value is invalid; `field` names it, and `errors` lists several.",
        of: is_of_the_api,
    },
    Refusal { status: "429", words: "A limit was exceeded; see Retry-After.", of: always },
    Refusal { status: "431", words: "The request headers are too large.", of: always },
    Refusal { status: "503", words: "The server cannot do this now; see Retry-After.", of: always },
];

fn always(_: &Line) -> bool {
    true
}

/// Whether the line may refuse a caller. A line that grants permissions checks a credential that the
/// caller sends, and may refuse one without.
fn may_refuse(line: &Line) -> bool {
    is_guarded(line) || line.grants
}

/// Whether the line checks a credential: a token, or a browser's cookie.
fn is_guarded(line: &Line) -> bool {
    line.permission != Permission::PUBLIC || line.strict || line.status.is_redirection()
}

fn is_of_the_api(line: &Line) -> bool {
    is_guarded(line) || !line.reads() || line.path.contains('{')
}

fn changes(line: &Line) -> bool {
    !line.reads() || line.status.is_redirection()
}

fn tags(routes: &Routes) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for line in &routes.table {
        let name = slice_of(line);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let described = |name| json!({"name": name, "description": routes.descriptions.get(name)});
    names.into_iter().map(described).collect()
}

fn slice_of(line: &Line) -> &'static str {
    line.name.split_once('.').map_or(line.name, |(slice, _)| slice)
}

fn operation(line: &Line, shapes: Shapes, example: &Value) -> Value {
    let (summary, description) = line.doc.trim().split_once('\n').unwrap_or((line.doc.trim(), ""));
    let mut parameters = path_parameters(line, &shapes.parameters);
    let mut operation = json!({
        "operationId": line.name,
        "summary": summary.trim(),
        "tags": [slice_of(line)],
        "x-permission": line.permission.as_str(),
        "responses": {
            line.status.as_str(): success(line, shapes.output.as_ref()),
        },
    });
    for refusal in REFUSALS.iter().filter(|refusal| (refusal.of)(line)) {
        let reference = format!("#/components/responses/{}", refusal.name(line.protocol));
        operation["responses"][refusal.status] = json!({"$ref": reference});
    }
    let description: Vec<&str> = description.trim().lines().map(str::trim).collect();
    if !description.is_empty() {
        operation["description"] = description.join("\n").into();
    }
    if line.exposure == Exposure::Public || line.permission == Permission::PUBLIC {
        operation["security"] = json!([]);
    }
    if line.reads() {
        operation["responses"]["304"] = json!({"description": "Not changed since If-None-Match."});
    }
    if let Some(also) = line.also {
        operation["responses"][also.as_str()] = success(line, shapes.output.as_ref());
    }
    match &shapes.input {
        Some(input) if line.in_query() => {
            parameters.extend(query_parameters(input));
        }
        Some(input) => {
            let media_type = line.protocol.map_or(JSON, |protocol| protocol.media_type);
            operation["requestBody"] = json!({"content": {media_type: {"schema": input}}});
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "description": "A request that is repeated with the same key within 24 hours is executed once.",
            }));
        }
        None => {}
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let statuses = [Some(line.status), line.also].into_iter().flatten();
    let answers = statuses.map(|status| ("answer", format!("/responses/{}", status.as_str())));
    for (member, holder) in answers.chain([("request", "/requestBody".to_owned())]) {
        let contents = operation.pointer_mut(&format!("{holder}/content"));
        let contents = contents.and_then(Value::as_object_mut).into_iter().flatten();
        for (_, content) in contents {
            if let Some(example) = example.get(member) {
                content["example"] = example.clone();
            }
        }
    }
    operation
}

fn success(line: &Line, output: Option<&Schema>) -> Value {
    match output {
        Some(schema) => {
            let media_type = line.protocol.map_or(JSON, |protocol| protocol.media_type);
            json!({"description": "Success.", "content": {media_type: {"schema": schema}}})
        }
        None if line.media_type.is_some() => {
            let media_type = line.media_type.unwrap_or_default();
            let schema = match media_type {
                "application/json" | "application/jwk-set+json" => json!({"type": "object"}),
                "application/octet-stream" => json!({"type": "string", "format": "binary"}),
                _ => json!({"type": "string"}),
            };
            json!({"description": "Success.", "content": {media_type: {"schema": schema}}})
        }
        None => json!({"description": "Success, without a body."}),
    }
}

fn path_parameters(line: &Line, schemas: &[Schema]) -> Vec<Value> {
    let (mut parameters, mut schemas, mut collection) = (Vec::new(), schemas.iter(), "");
    for part in line.path.split('/') {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            collection = part;
            continue;
        };
        let name = name.trim_start_matches('*');
        let mut schema =
            schemas.next().map_or_else(|| json!({"type": "string"}), |schema| json!(schema));
        let described = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let description = described.unwrap_or_else(|| described_by_path(collection, name).into());
        parameters.push(json!({
            "name": name, "in": "path", "required": true, "schema": schema,
            "description": description,
        }));
    }
    parameters
}

/// Describes a parameter by its place: `members/{user_id}`, `quotas/{metric}`.
fn described_by_path(collection: &str, name: &str) -> String {
    if let Some(noun) = name.strip_suffix("_id") {
        return format!("The ID of the {noun}.");
    }
    let noun = collection.strip_suffix('s').unwrap_or(collection).replace('-', " ");
    let name = if name == "id" { "ID" } else { name };
    format!("The {name} of the {noun}.")
}

/// Returns the members of a query input; GET inputs are inlined objects, never references.
fn query_parameters(input: &Schema) -> Vec<Value> {
    let required = |name: &str| {
        let names = input.get("required").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|n| n == name))
    };
    let Some(members) = input.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    members
        .iter()
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|s| s.remove("description"));
            let mut parameter =
                json!({"name": name, "in": "query", "required": required(name), "schema": schema});
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameter
        })
        .collect()
}

/// Returns the path of the document.
pub fn path() -> String {
    format!("{BASE}/openapi.json")
}
