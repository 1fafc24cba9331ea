//! The arguments of `call`, typed by the operation's schema.
//!
//! # Design
//!
//! The value of an argument is a string, and its form does not reveal its type. A subject of
//! digits, a name `true` and a version `1.10` are strings. The schema of the member states the
//! type. Only where no schema states one, such as in metadata, a value that is JSON counts as JSON.

use serde_json::{Map, Value};

use crate::kernel::http::line::Line;
use crate::kernel::http::openapi;

/// The JSON types that a value may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Types(u8);

impl Types {
    const ANY: Self = Self(u8::MAX);
    const STRING: Self = Self(1);

    fn named(name: &str) -> Self {
        Self(match name {
            "string" => 1,
            "integer" | "number" => 2,
            "boolean" => 4,
            "null" => 8,
            "array" => 16,
            "object" => 32,
            _ => 0,
        })
    }

    fn of(value: &Value) -> Self {
        Self::named(match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        })
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Converts the arguments to the types of the operation's members. A value that does not fit stays
/// a string, which the operation refuses by the member's name.
pub(super) fn typed(line: &Line, pairs: Vec<(String, String)>) -> Map<String, Value> {
    let mut generator = openapi::schemas();
    let input = line.shapes(&mut generator).input.map(Value::from);
    let schemas = Schemas(generator.take_definitions(true));
    let types = |name: &str| {
        let in_path = line.path.split('/').any(|part| {
            part.strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'))
                .is_some_and(|part| part.trim_start_matches('*') == name)
        });
        match &input {
            _ if in_path || line.in_query() => Types::STRING,
            Some(input) => schemas.member(input, name).unwrap_or(Types::STRING),
            None => Types::ANY,
        }
    };
    let value = |(name, text): (String, String)| {
        let value = value(types(&name), text);
        (name, value)
    };
    pairs.into_iter().map(value).collect()
}

fn value(types: Types, text: String) -> Value {
    let Ok(parsed) = serde_json::from_str::<Value>(&text) else { return text.into() };
    let is_structured = parsed.is_array() || parsed.is_object();
    let is_meant = types.has(Types::of(&parsed));
    if is_meant && (is_structured || types == Types::ANY || !types.has(Types::STRING)) {
        parsed
    } else {
        text.into()
    }
}

/// The named schemas of the OpenAPI document.
struct Schemas(Map<String, Value>);

impl Schemas {
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
        name.and_then(|name| self.0.get(name)).unwrap_or(schema)
    }

    /// Returns the types of a member of an object; `None` when the object has no such member.
    fn member(&self, object: &Value, name: &str) -> Option<Types> {
        let object = self.resolved(object);
        if let Some(member) = object.get("properties").and_then(|members| members.get(name)) {
            return Some(self.types(member));
        }
        let parts = parts(object).filter_map(|part| self.member(part, name));
        let others = object.get("additionalProperties").filter(|others| **others != false);
        let of_others = || others.map(|others| self.types(others));
        parts.reduce(Types::and).or_else(of_others)
    }

    fn types(&self, schema: &Value) -> Types {
        let schema = self.resolved(schema);
        let stated = match schema.get("type") {
            Some(Value::String(name)) => Some(Types::named(name)),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).map(Types::named).reduce(Types::and)
            }
            _ => None,
        };
        let values = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        let values = values.chain(schema.get("const")).map(Types::of).reduce(Types::and);
        let of_parts = || parts(schema).map(|part| self.types(part)).reduce(Types::and);
        stated.or(values).or_else(of_parts).unwrap_or(Types::ANY)
    }
}

fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["allOf", "anyOf", "oneOf"].into_iter();
    lists.filter_map(|name| schema.get(name)?.as_array()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client;

    fn read(operation: &str, pairs: &[(&str, &str)]) -> Value {
        let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        typed(&client::line(operation).unwrap(), pairs.collect()).into()
    }

    #[test]
    fn string_member_keeps_a_value_that_looks_like_another_type() {
        for text in
            ["1822", "1.10", "1e5", "0x10", "007", "true", "null", "2026-01-01", "\"a\"", ""]
        {
            let read = read("organizations.create", &[("name", text), ("external_id", text)]);
            assert_eq!(read, json!({"name": text, "external_id": text}));
        }
        let long = "283746501928374650123";
        let linked = read("users.link", &[("id", long), ("provider", "1"), ("subject", long)]);
        assert_eq!(linked, json!({"id": long, "provider": "1", "subject": long}));
        assert_eq!(read("organizations.list", &[("limit", "5")]), json!({"limit": "5"}));
    }

    #[test]
    fn member_of_another_type_is_read_as_json() {
        let made = read(
            "licenses.create",
            &[
                ("id", "7"),
                ("seat_cap", "5"),
                ("features", "{\"a\": [1]}"),
                ("subscription_id", "1"),
            ],
        );
        let right =
            json!({"id": "7", "seat_cap": 5, "features": {"a": [1]}, "subscription_id": "1"});
        assert_eq!(made, right);
        let made = read(
            "service_tokens.create_for_platform",
            &[("permissions", "[\"org:read\"]"), ("name", "[1]")],
        );
        assert_eq!(made, json!({"permissions": ["org:read"], "name": "[1]"}));
        // A value that does not fit is sent unchanged, so that the refusal names the member.
        assert_eq!(read("licenses.create", &[("seat_cap", "five")]), json!({"seat_cap": "five"}));
        assert_eq!(read("licenses.create", &[("seat", "5")]), json!({"seat": "5"}));
    }
}
