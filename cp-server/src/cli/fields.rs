//! The fields of an operation, as its schemas declare them.

use serde_json::Value;

use crate::kernel::digits;
use crate::kernel::http::line::Line;
use crate::kernel::http::openapi;
use crate::server::schema_words::{kind_of, members, resolved};

/// The JSON types that a value may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const ANY: Self = Self(u8::MAX);
    pub(super) const STRING: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(4);
    pub(super) const ARRAY: Self = Self(16);
    pub(super) const OBJECT: Self = Self(32);

    fn named(name: &str) -> Self {
        Self(match name {
            "string" => Self::STRING.0,
            "integer" | "number" => 2,
            "boolean" => Self::BOOLEAN.0,
            "null" => 8,
            "array" => Self::ARRAY.0,
            "object" => Self::OBJECT.0,
            _ => 0,
        })
    }

    pub(super) fn of(value: &Value) -> Self {
        Self::named(match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(text) if digits::of(text).is_some() => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        })
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a value has this type, or is null.
    pub(super) fn is(self, other: Self) -> bool {
        self.0 & !Self::named("null").0 == other.0
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The part of a request that contains a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Body,
}

/// A parameter of an operation's path or query, or a member of its body.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) types: Types,
    /// The type in words, such as `string (uuid)`.
    pub(super) kind: String,
    /// The allowed values, where the schema lists them.
    pub(super) options: Vec<String>,
    pub(super) is_required: bool,
    pub(super) description: String,
    /// The members of an object, one level deep.
    pub(super) members: Vec<Member>,
}

/// A member of a field that is an object, or a list of objects.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The name as it is shown, such as `holder.email`, `items[].scope` or `leasing.<name>.cap`.
    pub(super) path: String,
    pub(super) types: Types,
    pub(super) kind: String,
    pub(super) is_required: bool,
    pub(super) description: String,
}

/// The input of an operation.
pub(super) struct Input {
    pub(super) fields: Vec<Field>,
    /// The types of members that the schema does not name.
    pub(super) others: Types,
    /// An example of the body.
    pub(super) example: Option<Value>,
}

impl Input {
    pub(super) fn of(line: &Line, examples: &Value) -> Self {
        let document = openapi::of_line(line, examples);
        let method = line.method.as_str().to_lowercase();
        let operation = &document["paths"][line.full_path().replace("{*", "{")][method];
        let mut input = Self { fields: Vec::new(), others: Types::STRING, example: None };
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let place = match parameter["in"].as_str() {
                Some("path") => Place::Path,
                Some("query") => Place::Query,
                _ => continue,
            };
            let name = parameter["name"].as_str().unwrap_or_default();
            let is_required = parameter["required"] == true;
            let schema = &parameter["schema"];
            let mut field = field(&document, name, place, is_required, schema);
            if let Some(words) = parameter["description"].as_str() {
                field.description = words.to_owned();
            }
            if field.description.is_empty() && place == Place::Path {
                field.description = path_words(line.path, name);
            }
            // What is in a URL is a string; the server reads its type.
            if !field.types.is(Types::BOOLEAN) {
                field.types = Types::STRING;
            }
            input.fields.push(field);
        }
        match operation.pointer("/requestBody/content/application~1json") {
            Some(body) => {
                input.example = body.get("example").cloned();
                input.add_members(&document, &body["schema"]);
            }
            None if line.in_query() => {}
            None => input.others = Types::ANY,
        }
        input
    }

    pub(super) fn named(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Adds the members of a body. Where a body may be one object or several, the object counts.
    fn add_members(&mut self, document: &Value, schema: &Value) {
        let schema = resolved(document, schema);
        let required = schema["required"].as_array();
        for (name, member) in members(&schema["properties"]) {
            let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
            if self.named(name).is_none() {
                let field = field(document, name, Place::Body, is_required, member);
                let members = members_of(document, name, member);
                self.fields.push(Field { members, ..field });
            }
        }
        if let Some(others) = schema.get("additionalProperties").filter(|others| **others != false)
        {
            self.others = types(document, others);
        } else if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
            self.others = Types::ANY;
        }
        for part in parts(schema) {
            self.add_members(document, part);
        }
    }
}

fn members_of(document: &Value, name: &str, schema: &Value) -> Vec<Member> {
    let schema = resolved(document, schema);
    let by_pattern = members(&schema["patternProperties"]).map(|(_, one)| one).next();
    let by_name = by_pattern.or(schema.get("additionalProperties").filter(|one| one.is_object()));
    let (schema, separator) = match (schema.get("items"), by_name) {
        (Some(items), _) => (resolved(document, items), "[]."),
        (None, Some(one)) => (resolved(document, one), ".<name>."),
        (None, None) => (schema, "."),
    };
    let required = schema["required"].as_array();
    let mut all = Vec::new();
    for (own, member) in members(&schema["properties"]) {
        let is_required = required.is_some_and(|all| all.iter().any(|one| one == own));
        let field = field(document, own, Place::Body, is_required, member);
        all.push(Member {
            path: format!("{name}{separator}{own}"),
            types: field.types,
            kind: field.kind,
            is_required,
            description: field.description,
        });
    }
    all
}

fn field(document: &Value, name: &str, place: Place, is_required: bool, schema: &Value) -> Field {
    let inner = resolved(document, schema);
    let description = schema["description"].as_str().or(inner["description"].as_str());
    let kind = kind_of(document, schema);
    let options = inner["enum"].as_array().into_iter().flatten();
    Field {
        name: name.to_owned(),
        place,
        types: types(document, schema),
        kind: kind.strip_suffix(" or null").unwrap_or(&kind).replace(" or null (", " ("),
        options: options.filter_map(Value::as_str).map(str::to_owned).collect(),
        is_required,
        description: description
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        members: Vec::new(),
    }
}

/// Describes a parameter by the resource before it in the path.
fn path_words(path: &str, name: &str) -> String {
    let before = path.split(&format!("/{{{name}}}")).next().unwrap_or_default();
    let resource = before.rsplit('/').next().unwrap_or_default().replace('-', " ");
    format!("The ID of the {}", resource.strip_suffix('s').unwrap_or(&resource))
}

fn types(document: &Value, schema: &Value) -> Types {
    let schema = match schema.get("$ref") {
        Some(_) => resolved(document, schema),
        None => schema,
    };
    let stated = match schema.get("type") {
        Some(Value::String(name)) => Some(Types::named(name)),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).map(Types::named).reduce(Types::and)
        }
        _ => None,
    };
    let values = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let values = values.chain(schema.get("const")).map(Types::of).reduce(Types::and);
    let of_parts = || parts(schema).map(|part| types(document, part)).reduce(Types::and);
    stated.or(values).or_else(of_parts).unwrap_or(Types::ANY)
}

fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["allOf", "anyOf", "oneOf"].into_iter();
    lists.filter_map(|name| schema.get(name)?.as_array()).flatten()
}

/// Returns the first sentence of a description, without its full stop.
pub(super) fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}
