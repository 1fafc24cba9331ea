//! Values of the command line, typed by the fields of the operation.
//!
//! # Design
//!
//! The value of an argument is a string, and its form does not reveal its type. A subject of
//! digits, a name `true` and a version `1.10` are strings. The schema of the member states the
//! type. Only where no schema states one, such as in metadata, a value that is JSON counts as JSON.
//! A number keeps its digits.

use serde_json::{Map, Value};

use super::fields::{Input, Place, Types};
use crate::config::seconds;
use crate::kernel::digits;

/// Converts the arguments to the types of the operation's fields. A value that does not fit stays a
/// string, which the operation refuses by the field's name.
pub(super) fn typed(
    input: &Input,
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Map<String, Value> {
    let mut args = Map::new();
    for (name, text) in pairs {
        if let Some((object, member, value)) = member_of(input, &name, &text) {
            let value = Value::Object(Map::from_iter([(member, value)]));
            add(&mut args, Types::OBJECT, object, value);
            continue;
        }
        let field = input.named(&name);
        let types = field.map_or(input.others, |field| field.types);
        let is_in_body = field.is_some_and(|field| field.place == Place::Body);
        let value = match seconds_of(&name, &text) {
            Some(seconds) if is_in_body => seconds.into(),
            Some(seconds) => seconds.to_string().into(),
            None => value(types, text),
        };
        add(&mut args, types, name, value);
    }
    args
}

/// Reads the argument of a member, such as `holder.email`: the object, the member and its value.
fn member_of(input: &Input, name: &str, text: &str) -> Option<(String, String, Value)> {
    let (object, own) = name.split_once('.')?;
    let field = input.named(object)?;
    let is_object = field.place == Place::Body && field.types.has(Types::OBJECT);
    let member = field.members.iter().find(|one| one.path == name);
    let types = member.map_or(Types::ANY, |member| member.types);
    let value = match seconds_of(own, text) {
        Some(seconds) => seconds.into(),
        None => value(types, text.to_owned()),
    };
    is_object.then(|| (object.to_owned(), own.to_owned(), value))
}

/// Returns the seconds of a span such as `30d`, where the field expects seconds.
fn seconds_of(name: &str, text: &str) -> Option<i64> {
    if name.ends_with("_seconds") { seconds(text) } else { None }
}

fn value(types: Types, text: String) -> Value {
    let Some(parsed) = digits::parse(&text) else { return text.into() };
    let is_structured = parsed.is_array() || parsed.is_object();
    let is_meant = types.has(Types::of(&parsed));
    if is_meant && (is_structured || types == Types::ANY || !types.has(Types::STRING)) {
        parsed
    } else {
        text.into()
    }
}

/// Adds an argument. A list collects single values, and an object collects `member=value`.
fn add(args: &mut Map<String, Value>, types: Types, name: String, value: Value) {
    let is_single = !types.has(Types::STRING);
    let value = match value {
        Value::String(text) if is_single && types.has(Types::ARRAY) => {
            Value::Array(vec![text.into()])
        }
        Value::String(text) if is_single && types.has(Types::OBJECT) => {
            match text.split_once('=') {
                Some((member, value)) => {
                    let value = digits::parse(value).unwrap_or_else(|| value.into());
                    Value::Object(Map::from_iter([(member.to_owned(), value)]))
                }
                None => text.into(),
            }
        }
        value => value,
    };
    match (args.get_mut(&name), value) {
        (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
        (Some(Value::Object(all)), Value::Object(more)) => all.extend(more),
        (_, value) => drop(args.insert(name, value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client;

    fn read(operation: &str, pairs: &[(&str, &str)]) -> Value {
        let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let input = Input::of(&client::line(operation).unwrap(), &Value::Null);
        typed(&input, pairs).into()
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

    #[test]
    fn number_keeps_its_digits() {
        let digits = "123456789012345.654321";
        let limits = format!("tokens={digits}");
        for (operation, pair, right) in [
            ("usage.record", ("quantity", digits), format!("{{\"quantity\":{digits}}}")),
            (
                "plans.create",
                ("limits", &*limits),
                format!("{{\"limits\":{{\"tokens\":{digits}}}}}"),
            ),
        ] {
            assert_eq!(digits::write(&read(operation, &[pair])).unwrap(), right);
        }
        // Not a number of JSON: the operation refuses it by the name of the field.
        assert_eq!(read("usage.record", &[("quantity", "1,5")]), json!({"quantity": "1,5"}));
    }

    #[test]
    fn list_and_object_are_also_read_member_by_member() {
        let made = read(
            "plans.create",
            &[
                ("limits", "projects=20"),
                ("limits", "x_reports=unlimited"),
                ("limits", "{\"a\": 1}"),
            ],
        );
        assert_eq!(made, json!({"limits": {"projects": 20, "x_reports": "unlimited", "a": 1}}));
        let operation = "service_tokens.create_for_platform";
        let made = read(operation, &[("permissions", "org:read"), ("permissions", "org:write")]);
        assert_eq!(made, json!({"permissions": ["org:read", "org:write"]}));
    }

    #[test]
    fn member_of_an_object_is_named_by_its_path() {
        let pairs = [("id", "1"), ("holder.email", "1822"), ("meta.line", "7"), ("pool", "a.b")];
        let claim = read("leases.claim", &pairs);
        let right =
            json!({"id": "1", "holder": {"email": "1822"}, "meta": {"line": 7}, "pool": "a.b"});
        assert_eq!(claim, right);
        assert_eq!(read("leases.claim", &[("pool.x", "1")]), json!({"pool.x": "1"}));
    }

    #[test]
    fn seconds_are_also_read_as_a_span() {
        for (text, seconds) in [("30d", 2_592_000), ("90m", 5400), ("3600", 3600)] {
            let read = read("bundles.issue", &[("id", "30d"), ("ttl_seconds", text)]);
            assert_eq!(read, json!({"id": "30d", "ttl_seconds": seconds}));
        }
        let read = read("bundles.issue", &[("ttl_seconds", "a month")]);
        assert_eq!(read, json!({"ttl_seconds": "a month"}));
    }
}
