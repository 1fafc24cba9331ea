//! The output of a response: JSON, a table for people, or only the IDs.

use std::io::IsTerminal;

use anyhow::{bail, ensure};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::client;
use crate::kernel::digits;
use crate::kernel::http::line::Line;
use crate::kernel::http::openapi;
use crate::server::schema_words::{members, resolved};

/// The form of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    Json,
    Id,
}

/// The most columns of a table.
const COLUMNS: usize = 8;
/// The most characters of a cell, IDs aside.
const CELL: usize = 40;
/// Members in the order in which columns show them, after the ID; other members follow.
const FIRST: [&str; 32] = [
    "pool",
    "seat",
    "label",
    "holder",
    "slug",
    "code",
    "name",
    "deployment_name",
    "email",
    "action",
    "metric",
    "unit",
    "quantity",
    "limit",
    "used",
    "remaining",
    "type",
    "role",
    "status",
    "state",
    "permissions",
    "plan_code",
    "version",
    "plan_version",
    "seat_cap",
    "at",
    "valid_until",
    "ends_at",
    "expires_at",
    "activated_at",
    "observed_at",
    "created_at",
];

impl Form {
    pub(super) const ALL: [Self; 3] = [Self::Table, Self::Json, Self::Id];

    fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Id => "id",
        }
    }

    /// Returns the form that the caller chose, or the usual one of the standard output.
    pub(super) fn of(chosen: Option<&str>) -> anyhow::Result<Self> {
        Ok(Self::among(chosen, &Self::ALL)?.unwrap_or_else(Self::usual))
    }

    /// Returns the usual form of the standard output.
    pub(super) fn usual() -> Self {
        if std::io::stdout().is_terminal() { Self::Table } else { Self::Json }
    }

    /// Returns the form that the caller chose, if any, for a command with these forms.
    pub(super) fn among(chosen: Option<&str>, forms: &[Self]) -> anyhow::Result<Option<Self>> {
        let Some(chosen) = chosen else { return Ok(None) };
        let Some(form) = Self::ALL.into_iter().find(|form| form.name() == chosen) else {
            bail!("--output must be table, json or id");
        };
        let names: Vec<&str> = forms.iter().map(|form| form.name()).collect();
        if names.is_empty() {
            bail!("this command accepts no --output: its output has one form");
        }
        ensure!(forms.contains(&form), "--output of this command must be {}", names.join(" or "));
        Ok(Some(form))
    }

    /// Refuses IDs where the response has none. A refusal after the call would conceal a change.
    pub(super) fn check(self, line: &Line) -> anyhow::Result<()> {
        // The schemas of another protocol leave members out.
        if self != Self::Id || line.protocol.is_some() {
            return Ok(());
        }
        let document = openapi::of_line(line, &Value::Null);
        let method = line.method.as_str().to_lowercase();
        let path = line.full_path().replace("{*", "{");
        let responses = &document["paths"][path][method]["responses"];
        let has_ids = |status: StatusCode| {
            let contents = members(&responses[status.as_str()]["content"]);
            let mut schemas = contents.map(|(_, content)| &content["schema"]).peekable();
            // Without a body, there is nothing to print.
            schemas.peek().is_none()
                || schemas.any(|one| may_have_ids(&document, one, key_of(line)))
        };
        let is_possible = [Some(line.status), line.also].into_iter().flatten().any(has_ids);
        ensure!(is_possible, "the response of {} has no ID; use --output json", line.name);
        Ok(())
    }

    /// Renders the response of an operation.
    pub(super) fn render(self, line: &Line, answer: &[u8]) -> anyhow::Result<String> {
        let Ok(value) = digits::read::<Value>(answer) else {
            // A published document, such as a status list.
            return Ok(String::from_utf8_lossy(answer).into_owned());
        };
        let key = key_of(line);
        let items = value["items"].as_array();
        match (self, items) {
            (Self::Json, _) => client::pretty(answer),
            (Self::Id, Some(items)) => ids(key, items),
            (Self::Id, None) => ids(key, std::slice::from_ref(&value)),
            (Self::Table, Some(items)) => {
                let mut text = table(key, items, width());
                if let Some(cursor) = value["next_cursor"].as_str() {
                    text.push_str(&format!(
                        "There are more; the next page has the cursor {cursor}\n"
                    ));
                }
                Ok(text)
            }
            (Self::Table, None) => Ok(match by_name(&value) {
                Some(rows) => table("name", &rows, width()),
                None => lines_of(&value),
            }),
        }
    }
}

/// Returns the characters of a line of the terminal.
fn width() -> usize {
    let size = terminal_size::terminal_size_of(std::io::stdout());
    size.map_or(usize::MAX, |(width, _)| width.0.into())
}

/// Returns the rows of an answer that has objects of one shape by name, such as quotas by metric.
fn by_name(value: &Value) -> Option<Vec<Value>> {
    let mut objects = value.as_object()?.values().filter_map(Value::as_object);
    let (only, None) = (objects.next()?, objects.next()) else { return None };
    let members: Vec<&Map<String, Value>> =
        only.values().map(Value::as_object).collect::<Option<_>>()?;
    let is_of_one_shape = members.windows(2).all(|pair| pair[0].keys().eq(pair[1].keys()));
    let rows = only.iter().map(|(name, object)| {
        let mut row = Map::from_iter([("name".to_owned(), Value::from(name.as_str()))]);
        row.extend(object.as_object().cloned().unwrap_or_default());
        Value::Object(row)
    });
    (members.len() > 1 && is_of_one_shape).then(|| rows.collect())
}

/// Returns the member that names an item in paths: the parameter of the resource's `read`.
pub(super) fn key_of(line: &Line) -> &'static str {
    let slice = line.name.split('.').next().unwrap_or_default();
    let read = client::line(&format!("{slice}.read")).ok();
    let path = read.map_or("", |read| read.path);
    path.rsplit('{').next().and_then(|rest| rest.strip_suffix('}')).unwrap_or("id")
}

/// Returns the ID of an item.
pub(super) fn id_of<'v>(key: &str, item: &'v Value) -> Option<&'v str> {
    [key, "id", "jti"].iter().find_map(|name| item.get(name)?.as_str())
}

/// Whether objects of a schema, or the items of its list, may have an ID. A schema that names no
/// members allows any.
fn may_have_ids(document: &Value, schema: &Value, key: &str) -> bool {
    let schema = resolved(document, schema);
    let properties = &schema["properties"];
    let items = &properties["items"]["items"];
    let parts = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|name| schema[name].as_array());
    let mut parts = parts.flatten().peekable();
    match properties.as_object() {
        Some(_) if !items.is_null() => may_have_ids(document, items, key),
        Some(names) if [key, "id", "jti"].iter().any(|name| names.contains_key(*name)) => true,
        None if parts.peek().is_none() => true,
        _ => parts.any(|part| may_have_ids(document, part, key)),
    }
}

fn ids(key: &str, items: &[Value]) -> anyhow::Result<String> {
    let ids: Option<Vec<&str>> = items.iter().map(|item| id_of(key, item)).collect();
    match ids {
        Some(ids) => Ok(ids.join("\n")),
        None => bail!("the response has no ID; use --output json"),
    }
}

/// Renders a list as a table of at most `width` characters.
fn table(key: &str, items: &[Value], width: usize) -> String {
    if items.is_empty() {
        return "There are none.\n".to_owned();
    }
    let mut names = columns(key, items);
    names.truncate(COLUMNS);
    let cells = |name: &String| -> Vec<String> {
        let cut = if names.first() == Some(name) { usize::MAX } else { CELL };
        let values = items.iter().map(|item| cut_to(&cell(&item[name]).unwrap_or_default(), cut));
        std::iter::once(name.to_uppercase()).chain(values).collect()
    };
    let mut columns: Vec<Vec<String>> = names.iter().map(cells).collect();
    let widths: Vec<usize> = columns.iter().map(|column| width_of(column)).collect();
    // Two spaces separate columns.
    let fitting = |count: &usize| {
        widths[..*count].iter().map(|w| w + 2).sum::<usize>() <= width.saturating_add(2)
    };
    let count = (1..=columns.len()).rev().find(fitting).unwrap_or(1);
    columns.truncate(count);
    let mut text = String::new();
    for row in 0..=items.len() {
        let line: Vec<String> = columns
            .iter()
            .zip(&widths)
            .map(|(column, width)| padded(&column[row], *width))
            .collect();
        text.push_str(cut_to(line.join("  ").trim_end(), width).trim_end());
        text.push('\n');
    }
    text
}

fn width_of(column: &[String]) -> usize {
    column.iter().map(|cell| cell.chars().count()).max().unwrap_or_default()
}

fn padded(cell: &str, width: usize) -> String {
    let missing = width.saturating_sub(cell.chars().count());
    format!("{cell}{}", " ".repeat(missing))
}

fn cut_to(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Returns the members that become columns: those with a value that fits into a cell, the most
/// important first.
fn columns(key: &str, items: &[Value]) -> Vec<String> {
    let mut names: Vec<&String> = Vec::new();
    for name in items.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        let has_value = || items.iter().any(|item| cell(&item[name]).is_some_and(|c| c != "-"));
        if !names.contains(&name) && has_value() {
            names.push(name);
        }
    }
    let is_key = |name: &str| name == key || (name == "id" && !names.iter().any(|n| *n == key));
    let rank = |name: &str| match FIRST.iter().position(|first| *first == name) {
        _ if is_key(name) => Some(0),
        Some(at) => Some(1 + at),
        // The first column has the ID; others are for programs.
        None if name.ends_with("_id") || name == "id" => None,
        None if name.ends_with("_hash") || matches!(name, "revision" | "updated_at") => None,
        None => Some(1 + FIRST.len()),
    };
    let mut ranked: Vec<(usize, String)> =
        names.iter().filter_map(|name| Some((rank(name)?, (*name).clone()))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, name)| name).collect()
}

/// Returns the cell of a value; `None` where a value does not fit into a cell.
fn cell(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("-".to_owned()),
        Value::String(text) => Some(plain(text)),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) if !items.is_empty() => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            items.map(|items| plain(&items.join(", ")))
        }
        Value::Array(_) => None,
        Value::Object(members) => {
            let names = ["code", "slug", "name", "email", "user_id", "hash"];
            let known = names.iter().filter_map(|name| members.get(*name));
            known.filter(|member| !member.is_null()).find_map(cell)
        }
    }
}

/// Returns the text without control characters, and an instant without its fraction. A number has
/// all its digits.
fn plain(text: &str) -> String {
    if let Some(number) = digits::of(text) {
        return number.to_owned();
    }
    let text = match text.split_once('.') {
        Some((instant, rest)) if instant.len() == 19 && rest.ends_with('Z') => {
            format!("{instant}Z")
        }
        _ => text.to_owned(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Renders an object: a line for each member, with the path of a nested one.
fn lines_of(value: &Value) -> String {
    let mut lines = Vec::new();
    flatten("", value, &mut lines);
    let rank = |path: &str| FIRST.iter().position(|first| *first == path).unwrap_or(FIRST.len());
    lines.sort_by_key(|(path, _)| if path == "id" { 0 } else { 1 + rank(path) });
    let width = lines.iter().map(|(path, _)| path.chars().count()).max().unwrap_or_default();
    lines.iter().map(|(path, text)| format!("{}  {text}\n", padded(path, width))).collect()
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, member, lines);
            }
        }
        Value::String(text) => lines.push((path.to_owned(), plain(text))),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            lines.push((path.to_owned(), plain(&items.join(", "))));
        }
        value => lines.push((path.to_owned(), digits::write(value).unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn items() -> Vec<Value> {
        let item = |id: &str, name: &str, ends: Value| {
            json!({
                "created_at": "2026-01-01T00:00:00.042Z", "ends_at": ends, "id": id, "name": name,
                "organization_id": "o", "role": {"code": "ADMIN", "rank": 3}, "status": "active",
                "external_id": null, "features": {"a": 1}, "updated_at": "2026-01-01T00:00:00Z",
            })
        };
        vec![
            item("1", "Acme", json!("2027-01-01T00:00:00Z")),
            item("2", "A longer name", json!(null)),
        ]
    }

    #[test]
    fn list_is_a_table_of_the_members_for_people() {
        let right = "\
ID  NAME           ROLE   STATUS  ENDS_AT               CREATED_AT
1   Acme           ADMIN  active  2027-01-01T00:00:00Z  2026-01-01T00:00:00Z
2   A longer name  ADMIN  active  -                     2026-01-01T00:00:00Z
";
        assert_eq!(table("id", &items(), usize::MAX), right);
        let narrow = "\
ID  NAME           ROLE   STATUS
1   Acme           ADMIN  active
2   A longer name  ADMIN  active
";
        assert_eq!(table("id", &items(), 33), narrow);
        assert_eq!(table("id", &items(), 1), "…\n1\n2\n");
        assert_eq!(table("id", &[], 80), "There are none.\n");
    }

    #[test]
    fn objects_of_one_shape_by_name_are_a_table() {
        let quotas = json!({"organization_id": "o", "quotas": {
            "members": {"limit": 20, "used": 1, "from": "plan"},
            "projects": {"limit": null, "used": 0, "from": "plan"},
        }});
        let right = "\
NAME      LIMIT  USED  FROM
members   20     1     plan
projects  -      0     plan
";
        assert_eq!(table("name", &by_name(&quotas).unwrap(), 80), right);
        assert_eq!(by_name(&json!({"effective": {"a": {"b": 1}, "c": {"d": 1}}})), None);
    }

    #[test]
    fn number_is_shown_with_its_digits() {
        let line = client::line("usage.list").unwrap();
        let item = br#"{"id":"1","metric":"q","quantity":3000000000001001.100001,"parts":[{"n":99999999999.123456}]}"#;
        let page = [&br#"{"items":["#[..], item, br#"],"next_cursor":null}"#].concat();
        let shown = |form: Form, answer: &[u8]| form.render(&line, answer).unwrap();
        for text in [
            shown(Form::Json, item),
            shown(Form::Json, &page),
            shown(Form::Table, item),
            shown(Form::Table, &page),
        ] {
            assert!(text.contains("3000000000001001.100001"), "{text}");
            assert!(!text.contains('\0') && !text.contains("u0000"), "{text}");
        }
        assert!(shown(Form::Table, item).contains("99999999999.123456"));
    }

    #[test]
    fn object_is_a_line_for_each_member() {
        let value = json!({"id": "1", "limits": {"projects": 20, "x": null}, "tags": ["a", "b"]});
        let right = "\
id               1
limits.projects  20
limits.x         null
tags             a, b
";
        assert_eq!(lines_of(&value), right);
    }

    #[test]
    fn ids_are_those_that_paths_name() {
        let of = |operation: &str| key_of(&client::line(operation).unwrap());
        assert_eq!(of("plans.create"), "code");
        assert_eq!(of("keys.list"), "kid");
        assert_eq!(of("licenses.list_all"), "id");
        assert_eq!(ids("org", &items()).unwrap(), "1\n2");
        assert!(ids("id", &[json!({"ok": true})]).is_err());
    }

    #[test]
    fn ids_are_refused_before_the_call_where_the_response_has_none() {
        let check = |operation: &str| Form::Id.check(&client::line(operation).unwrap());
        for operation in [
            "organizations.list",
            "organizations.create",
            "plans.create",
            "keys.list",
            "bundles.issue",
            "licenses.list_all",
            "users.upsert",
            "organizations.delete",
            "leases.claim",
        ] {
            assert!(check(operation).is_ok(), "{operation}");
        }
        for operation in ["allocations.put", "entitlements.update"] {
            let refused = check(operation).unwrap_err().to_string();
            assert!(refused.contains(operation) && refused.contains("has no ID"), "{refused}");
        }
    }

    #[test]
    fn forms_of_a_command_are_checked() {
        let forms = [Form::Json, Form::Id];
        assert_eq!(Form::among(None, &forms).unwrap(), None);
        assert_eq!(Form::among(Some("id"), &forms).unwrap(), Some(Form::Id));
        for (chosen, forms, why) in [
            ("xml", &forms[..], "--output must be table, json or id"),
            ("table", &forms[..], "must be json or id"),
            ("json", &[], "accepts no --output"),
        ] {
            let refused = Form::among(Some(chosen), forms).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
