//! The search for all refused fields of one body.
//!
//! # Design serde stops at the first field that it refuses. To find the others, the refused field
//! is removed, and the body is read again. A required field is replaced by an example from its
//! schema instead. So the same code judges each field as in an accepted request, in the same words.
//! Rejected: a validator of JSON Schemas, whose rules and words differ from those of the types.
//!
//! A field that is refused again after its repair ends the search: what follows may be a consequence
//! of the repair.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use serde_path_to_error::{Path, Segment};

use super::objects::Objects;
use super::refusal::{BODY, Kind, Refusal};

/// The maximum number of refusals of one body.
const MOST: usize = 20;
/// The maximum nesting of an example.
const DEPTH: usize = 8;

/// A step from a value to one inside.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Member(String),
    Item(usize),
}

/// Returns the refusals of all fields of a body, in the order in which serde finds them.
pub(super) fn refusals<T: DeserializeOwned + JsonSchema>(mut body: Value) -> Vec<Refusal> {
    let schemas = Schemas::of::<T>();
    let (mut found, mut repaired): (Vec<Refusal>, Vec<Vec<Step>>) = (Vec::new(), Vec::new());
    while found.len() < MOST {
        let read: Result<T, _> = serde_path_to_error::deserialize(Objects(&body));
        let Err(error) = read else { break };
        let path = steps(error.path());
        let refusal = Refusal::of(BODY, &error.path().to_string(), &error.into_inner().to_string());
        let place = path.map(|path| place(path, &refusal.kind));
        let is_related = place.as_ref().is_none_or(|place| {
            repaired.iter().any(|earlier| earlier.starts_with(place) || place.starts_with(earlier))
        });
        if !found.is_empty() && is_related {
            break;
        }
        let is_repaired = place.as_ref().is_some_and(|at| schemas.repair(&mut body, at, &refusal));
        found.push(refusal);
        repaired.extend(place);
        if !is_repaired {
            break;
        }
    }
    found
}

/// Returns the steps of a path, if all of them are known.
fn steps(path: &Path) -> Option<Vec<Step>> {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Some(Step::Item(*index))),
        Segment::Map { key } => Some(Some(Step::Member(key.clone()))),
        // The variant of an enumeration is not a member.
        Segment::Enum { .. } => Some(None),
        Segment::Unknown => None,
    };
    let steps: Option<Vec<Option<Step>>> = path.iter().map(step).collect();
    Some(steps?.into_iter().flatten().collect())
}

/// Returns the place of the refused field. serde names a missing or unknown one in its message, and
/// not always in the path.
fn place(mut path: Vec<Step>, kind: &Kind) -> Vec<Step> {
    if let Kind::Missing(name) | Kind::Unknown(name) = kind {
        let last = Step::Member(name.clone());
        if path.last() != Some(&last) {
            path.push(last);
        }
    }
    path
}

/// The schema of a body, and the definitions that it refers to.
struct Schemas {
    root: Value,
    definitions: Map<String, Value>,
}

impl Schemas {
    fn of<T: JsonSchema>() -> Self {
        let mut generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
        let root = generator.subschema_for::<T>().into();
        Self { root, definitions: generator.take_definitions(true) }
    }

    /// Removes or replaces the refused field. Returns whether the body was changed.
    fn repair(&self, body: &mut Value, place: &[Step], refusal: &Refusal) -> bool {
        let Some((last, path)) = place.split_last() else { return false };
        let mut parent = Some(body);
        for step in path {
            parent = parent.and_then(|value| match step {
                Step::Member(name) => value.get_mut(name),
                Step::Item(index) => value.get_mut(index),
            });
        }
        let is_unknown = matches!(refusal.kind, Kind::Unknown(_));
        match (parent, last) {
            (Some(Value::Object(members)), Step::Member(name)) => {
                if is_unknown || !self.is_required(path, name) {
                    return members.remove(name).is_some();
                }
                let example = self.at(place).and_then(|schema| self.example(schema, DEPTH));
                example.map(|example| members.insert(name.clone(), example)).is_some()
            }
            (Some(Value::Array(items)), Step::Item(index)) => {
                let example = self.at(place).and_then(|schema| self.example(schema, DEPTH));
                let (Some(item), Some(example)) = (items.get_mut(*index), example) else {
                    return false;
                };
                *item = example;
                true
            }
            _ => false,
        }
    }

    fn is_required(&self, path: &[Step], name: &str) -> bool {
        let object = self.at(path).map(|schema| self.resolved(schema));
        let in_list = |object: &Value| {
            let names = object.get("required").and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|required| required == name))
        };
        object.is_some_and(|object| {
            in_list(object) || parts(object).any(|part| in_list(self.resolved(part)))
        })
    }

    /// Returns the schema of the value at a place.
    fn at(&self, place: &[Step]) -> Option<&Value> {
        place.iter().try_fold(&self.root, |schema, step| self.inside(schema, step))
    }

    fn inside<'s>(&'s self, schema: &'s Value, step: &Step) -> Option<&'s Value> {
        let schema = self.resolved(schema);
        let own = match step {
            Step::Member(name) => schema
                .get("properties")
                .and_then(|members| members.get(name))
                .or_else(|| schema.get("additionalProperties").filter(|more| more.is_object())),
            Step::Item(_) => schema.get("items"),
        };
        own.or_else(|| parts(schema).find_map(|part| self.inside(part, step)))
    }

    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
        name.and_then(|name| self.definitions.get(name)).unwrap_or(schema)
    }

    /// Returns a value that the schema allows, as far as the schema shows one.
    fn example(&self, schema: &Value, depth: usize) -> Option<Value> {
        let schema = self.resolved(schema);
        let first = |name: &str| schema.get(name)?.get(0).cloned();
        let stated = schema.get("const").cloned().or_else(|| first("enum"));
        if let Some(stated) = stated.or_else(|| first("examples")) {
            return Some(stated);
        }
        let depth = depth.checked_sub(1)?;
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().find(|kind| *kind != "null")?.as_str()?,
            Some(kind) => kind.as_str()?,
            None => return parts(schema).find_map(|part| self.example(part, depth)),
        };
        Some(match kind {
            "string" => string(schema)?,
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(0)),
            "boolean" => json!(false),
            "array" if schema.get("minItems").is_some_and(|least| *least != 0) => {
                json!([self.example(schema.get("items")?, depth)?])
            }
            "array" => json!([]),
            "object" => {
                let names = schema.get("required").and_then(Value::as_array);
                let names = names.into_iter().flatten().filter_map(Value::as_str);
                let member = |name: &str| {
                    let member = self.example(schema.get("properties")?.get(name)?, depth)?;
                    Some((name.to_owned(), member))
                };
                Value::Object(names.map(member).collect::<Option<_>>()?)
            }
            _ => Value::Null,
        })
    }
}

/// Returns a string that fits the format. A pattern without an example has none.
fn string(schema: &Value) -> Option<Value> {
    match schema.get("format").and_then(Value::as_str) {
        Some("uuid") => Some(json!(uuid::Uuid::nil())),
        Some("date-time") => Some(json!("2026-01-31T12:00:00Z")),
        _ if schema.get("pattern").is_some() => None,
        _ => Some(json!("example")),
    }
}

fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["allOf", "anyOf", "oneOf"].into_iter();
    lists.filter_map(|name| schema.get(name)?.as_array()).flatten()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::kernel::http::json::{Moment, Patch, SeatCap};
    use crate::kernel::text::{Email, Slug};

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "reading the members is the test")]
    struct Body {
        slug: Slug,
        seat_cap: SeatCap,
        owner: Owner,
        #[serde(default)]
        ends_at: Patch<Moment>,
        #[serde(default)]
        tags: Vec<String>,
        owners: Option<Vec<Owner>>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "reading the members is the test")]
    struct Owner {
        email: Email,
        id: Option<uuid::Uuid>,
    }

    fn found(body: Value) -> Vec<(String, String)> {
        let refusals = refusals::<Body>(body).into_iter();
        refusals.map(|refusal| (refusal.field, refusal.detail)).collect()
    }

    fn fields(body: Value) -> Vec<String> {
        found(body).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn all_missing_wrong_and_unknown_fields_are_found() {
        assert_eq!(fields(json!({})), ["slug", "seat_cap", "owner"]);
        let details: Vec<String> = found(json!({
            "slug": "No Slug", "seat_cap": 0, "seats": 5, "owner": {"email": 1, "id": "x"},
            "ends_at": "tomorrow", "tags": ["a", 1, 2], "owners": [{}, {"mail": "a@b"}],
        }))
        .into_iter()
        .map(|(_, detail)| detail)
        .collect();
        let right = [
            "`slug` must be a slug: 1 to 64 of a-z, 0-9 and hyphens, with a letter or digit at both \
             ends, such as \"acme-corp\".",
            "`seat_cap` must be at least 1 (got 0).",
            "Unknown field `seats`. Did you mean `seat_cap`? Allowed: `slug`, `seat_cap`, `owner`, \
             `ends_at`, `tags`, `owners`.",
            "`owner.email` must be a string (got an integer).",
            "`owner.id` must be a UUID.",
            "`ends_at` must be an RFC 3339 timestamp such as 2026-01-31T12:00:00Z.",
            "`tags[1]` must be a string (got an integer).",
            "`tags[2]` must be a string (got an integer).",
            "`owners[0].email` is required.",
            "Unknown field `mail`. Did you mean `email`? Allowed: `email`, `id`.",
            "`owners[1].email` is required.",
        ];
        for detail in &details {
            assert!(right.contains(&&**detail), "{detail}");
        }
        assert_eq!(details.len(), right.len(), "{details:#?}");
    }

    #[test]
    fn body_of_another_type_is_one_refusal() {
        assert_eq!(fields(json!([])).len(), 1);
        assert_eq!(fields(json!({"slug": "a", "seat_cap": 1, "owner": 5})), ["owner"]);
    }

    #[test]
    fn search_for_refusals_is_bounded() {
        let many: Map<String, Value> = (0..100).map(|n| (format!("x{n}"), json!(n))).collect();
        assert_eq!(found(Value::Object(many)).len(), MOST);
    }
}
