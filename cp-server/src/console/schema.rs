//! Fields of forms, read from the JSON Schema of an input (draft 2020-12).

use serde_json::{Map, Value};

use super::words;

/// The schemas that others refer to, by their names.
pub(super) type Schemas = Map<String, Value>;

/// A field of a form.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// The member of the input.
    pub(super) name: String,
    pub(super) label: String,
    pub(super) hint: String,
    pub(super) is_required: bool,
    /// Whether null is a value, which an emptied entry of a change stands for.
    pub(super) is_nullable: bool,
    /// Whether answers never return the value.
    pub(super) is_secret: bool,
    /// Whether an absent flag is true.
    pub(super) is_on: bool,
    pub(super) control: Control,
}

#[derive(Clone, Debug)]
pub(super) enum Control {
    /// One of these words.
    Choice(Vec<String>),
    Flag,
    Instant,
    Integer,
    Decimal,
    /// One line of text, with the type of its entry.
    Line(&'static str),
    Text,
    /// Some of these words.
    Several(Vec<String>),
    /// Strings, one a line.
    Lines,
    /// Named values of any kind.
    Rows,
    /// The members of an object.
    Group(Vec<Field>),
    Json,
}

/// The longest string that has an entry of one line.
const LINE: u64 = 255;
/// How deep members of members have entries of their own.
const DEPTH: usize = 2;
/// Open objects of one of these names have rows; other objects are JSON.
const PLAIN: [&str; 1] = ["additionalProperties"];

/// Returns the schema behind references.
pub(super) fn resolved<'s>(schemas: &'s Schemas, schema: &'s Value) -> &'s Value {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    match name.and_then(|name| schemas.get(name)) {
        Some(found) => resolved(schemas, found),
        None => schema,
    }
}

/// Returns the fields of an object's members, the required ones first.
pub(super) fn fields(schemas: &Schemas, schema: &Value) -> Vec<Field> {
    fields_at(schemas, schema, 0)
}

fn fields_at(schemas: &Schemas, schema: &Value, depth: usize) -> Vec<Field> {
    let schema = one_of(schemas, resolved(schemas, schema));
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
    let members = schema["properties"].as_object().into_iter().flatten();
    let mut fields: Vec<Field> = members
        .filter(|(_, member)| !is_obsolete(member))
        .map(|(name, member)| field(schemas, name, member, is_required(name), depth))
        .collect();
    let is_large =
        |field: &Field| matches!(field.control, Control::Rows | Control::Group(_) | Control::Json);
    fields.sort_by_key(|field| (!field.is_required, field.name != "name", is_large(field)));
    fields
}

/// Returns the schema of one object, where an input is one or many. A form is for one.
fn one_of<'s>(schemas: &'s Schemas, schema: &'s Value) -> &'s Value {
    let several = schema["oneOf"].as_array().into_iter().flatten();
    let mut objects = several.map(|one| resolved(schemas, one));
    objects.find(|one| one["properties"].is_object()).unwrap_or(schema)
}

fn field(schemas: &Schemas, name: &str, member: &Value, is_required: bool, depth: usize) -> Field {
    let (schema, is_nullable) = without_null(schemas, member);
    let about = member["description"].as_str().or_else(|| schema["description"].as_str());
    let hint = in_words(&about.unwrap_or_default().replace('\n', " "));
    // A form has no null: an empty entry stands for it.
    let hint =
        hint.replace(" Null removes", " Empty removes").replace(" Null returns", " Empty returns");
    Field {
        name: name.to_owned(),
        label: words::label(name),
        hint,
        is_required,
        is_nullable,
        is_secret: member["writeOnly"] == true || schema["writeOnly"] == true,
        is_on: member["default"] == true,
        control: control(schemas, name, schema, depth),
    }
}

/// Writes the names of members as their labels: a form shows those.
fn in_words(about: &str) -> String {
    let is_name = |part: &str| {
        part.contains('_') && part.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    };
    let parts = about.split('`').enumerate().map(|(n, part)| match n % 2 == 1 && is_name(part) {
        true => format!("“{}”", words::label(part)),
        false => part.to_owned(),
    });
    parts.collect()
}

/// Whether a member is another name of one that stays.
fn is_obsolete(member: &Value) -> bool {
    member["description"].as_str().is_some_and(|about| about.contains("removed in 1.0"))
}

/// Returns the schema of the values other than null, and whether null is one.
fn without_null<'s>(schemas: &'s Schemas, member: &'s Value) -> (&'s Value, bool) {
    let member = resolved(schemas, member);
    let is_null = |schema: &Value| schema["type"] == "null";
    if let Some(any) = member["anyOf"].as_array() {
        let mut others = any.iter().filter(|one| !is_null(one));
        if let (Some(only), None) = (others.next(), others.next()) {
            return (resolved(schemas, only), any.len() > 1);
        }
    }
    let types = member["type"].as_array();
    (member, types.is_some_and(|types| types.iter().any(|one| one == "null")))
}

fn control(schemas: &Schemas, name: &str, schema: &Value, depth: usize) -> Control {
    if let Some(words) = choices(schema) {
        return Control::Choice(words);
    }
    match type_of(schema) {
        Some("boolean") => Control::Flag,
        Some("integer") => Control::Integer,
        Some("number") => Control::Decimal,
        Some("string") => text(name, schema),
        Some("array") => {
            let items = resolved(schemas, &schema["items"]);
            match (choices(items), type_of(items)) {
                (Some(words), _) => Control::Several(words),
                (None, Some("string")) => Control::Lines,
                _ => Control::Json,
            }
        }
        Some("object") if schema["properties"].is_object() && depth < DEPTH => {
            Control::Group(fields_at(schemas, schema, depth + 1))
        }
        Some("object") if is_open(schema) => Control::Rows,
        _ => Control::Json,
    }
}

fn is_open(schema: &Value) -> bool {
    PLAIN.iter().all(|name| match &schema[name] {
        Value::Bool(is_open) => *is_open,
        Value::Null => true,
        values => {
            matches!(type_of(values), Some("string" | "integer")) || values["anyOf"].is_array()
        }
    })
}

fn text(name: &str, schema: &Value) -> Control {
    let is_long = schema["maxLength"].as_u64().is_some_and(|most| most > LINE);
    match schema["format"].as_str() {
        Some("date-time") => Control::Instant,
        Some("email") => Control::Line("email"),
        Some("uri") => Control::Line("url"),
        _ if is_long || ["certificate", "file", "pem"].contains(&name) => Control::Text,
        _ => Control::Line("text"),
    }
}

/// Returns the words of an enumeration.
fn choices(schema: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(text).collect();
    }
    if let Some(word) = schema["const"].as_str() {
        return Some(vec![word.to_owned()]);
    }
    let parts = schema["oneOf"].as_array()?;
    let words: Option<Vec<Vec<String>>> = parts.iter().map(choices).collect();
    words.map(|words| words.concat())
}

/// Returns the only type of a schema, null aside.
pub(super) fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(one) => Some(one),
        Value::Array(several) => {
            let mut others = several.iter().filter_map(Value::as_str).filter(|one| *one != "null");
            others.next().filter(|_| others.next().is_none())
        }
        _ => None,
    }
}

/// Returns the members of an answer in the order of a page: the names first, the instants last.
pub(super) fn members(schemas: &Schemas, schema: &Value) -> Vec<(String, Value)> {
    let schema = resolved(schemas, schema);
    let all = schema["properties"].as_object().into_iter().flatten();
    let mut members: Vec<(String, Value)> = all
        .filter(|(_, member)| !is_obsolete(member))
        .map(|(name, member)| (name.clone(), without_null(schemas, member).0.clone()))
        .collect();
    members.sort_by_key(|(name, _)| place(name));
    members
}

fn place(name: &str) -> usize {
    let first = [
        "name",
        "display_name",
        "title",
        "email",
        "code",
        "slug",
        "key",
        "metric",
        "kid",
        "subject",
        "scope",
    ];
    match first.iter().position(|known| *known == name) {
        Some(at) => at,
        None if ["status", "state"].contains(&name) => first.len(),
        None if name == "id" => 90,
        None if name == "updated_at" => 98,
        None if name == "created_at" => 99,
        None => 50,
    }
}

/// Whether a member is one value, which fits a column.
pub(super) fn is_scalar(schema: &Value) -> bool {
    choices(schema).is_some()
        || matches!(type_of(schema), Some("string" | "integer" | "number" | "boolean"))
}
