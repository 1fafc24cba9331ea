//! The types of events: the operations that change something, and the changes of jobs.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::kernel::app::{App, Part};
use crate::kernel::db::query::Rows;
use crate::kernel::db::values::Row;
use crate::kernel::declaration;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json::refusal::nearest;
use crate::kernel::http::line::Line;
use crate::kernel::http::routes::Operations;
use crate::kernel::text::named;

/// The type of the events that callers report.
pub const RECORDED: &str = "audit.record";
/// The most names in one request.
const MOST: usize = 50;

/// A type of events.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EventType {
    /// The type, such as `licenses.revoke`.
    pub r#type: &'static str,
    /// The description.
    pub description: &'static str,
}

/// The types of this server, once they are listed.
#[derive(Default)]
pub struct Catalogue(OnceLock<Vec<EventType>>);

impl Part for Catalogue {}

/// Returns all types, by name.
pub fn all(app: &App) -> &[EventType] {
    Catalogue::of(app).0.get_or_init(|| of_table(&Operations::of(app).build().table))
}

/// Returns the types of a table of operations, and of the changes that no line makes, by name.
pub fn of_table(lines: &[Line]) -> Vec<EventType> {
    let of_lines = lines.iter().filter(|line| leaves_event(line)).map(|line| EventType {
        r#type: line.name,
        description: line.doc.split('\n').next().unwrap_or_default().trim(),
    });
    let of_others = declaration::all().iter().flat_map(|one| one.events);
    let of_others = of_others.map(|one| EventType { r#type: one.action, description: one.doc });
    let mut types: Vec<EventType> = of_lines.chain(of_others).collect();
    types.sort_by_key(|one| one.r#type);
    types
}

/// Whether the line leaves an event of its name. A raw line records its events itself, and its
/// resource declares them.
fn leaves_event(line: &Line) -> bool {
    line.audited && !line.raw && !line.reads()
}

/// Names of types in a body: 1 to 50 of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct TypeNames(pub Vec<String>);

impl JsonSchema for TypeNames {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "TypeNames".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST,
            "examples": [["licenses.*", "bundles.issue"]],
        })
    }
}

/// The types that a reader selects; none selects all.
#[derive(Clone, Debug, Default)]
pub struct Types {
    names: Vec<String>,
    /// The beginnings of names, such as `licenses.`.
    beginnings: Vec<String>,
}

/// The type of a row, as an event has it.
macro_rules! of_row {
    ($before:literal, $after:literal) => {
        concat!($before, "CASE source WHEN 'caller' THEN 'audit.record' ELSE action END", $after)
    };
}

impl Types {
    /// Reads names that are separated by commas.
    pub fn listed(app: &App, text: &str) -> Result<Self> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        Self::checked(app, &names)
    }

    /// Checks the names of types.
    ///
    /// # Errors
    /// 422 for an unknown type, and for more than 50.
    pub fn checked(app: &App, names: &[String]) -> Result<Self> {
        if !(1..=MOST).contains(&names.len()) {
            let detail = format!("`types` must have 1 to {MOST} types (got {}).", names.len());
            return Err(Error::invalid("types", detail));
        }
        let known = all(app);
        let mut types = Self::default();
        for name in names {
            match name.strip_suffix('*') {
                Some(beginning)
                    if beginning.ends_with('.')
                        && known.iter().any(|one| one.r#type.starts_with(beginning)) =>
                {
                    types.beginnings.push(beginning.to_owned());
                }
                _ if known.iter().any(|one| one.r#type == name) => types.names.push(name.clone()),
                _ => return Err(unknown(name, known)),
            }
        }
        Ok(types)
    }

    /// Takes names that were checked when they were stored.
    pub fn stored(names: &[String]) -> Self {
        let (beginnings, names): (Vec<String>, _) =
            names.iter().cloned().partition(|name| name.ends_with('*'));
        let beginnings = beginnings.iter().map(|name| name.trim_end_matches('*').to_owned());
        Self { names, beginnings: beginnings.collect() }
    }

    /// Returns whether events of this type are selected.
    pub fn selects(&self, kind: &str) -> bool {
        self.names.is_empty() && self.beginnings.is_empty()
            || self.names.iter().any(|name| name == kind)
            || self.beginnings.iter().any(|beginning| kind.starts_with(beginning))
    }

    /// Adds the condition to a query over audit events.
    pub fn narrow<'c, R: Row>(&self, mut rows: Rows<'c, R>) -> Rows<'c, R> {
        if self.names.is_empty() && self.beginnings.is_empty() {
            return rows;
        }
        rows = rows.sql(" AND (FALSE");
        for name in &self.names {
            rows = rows.and(of_row!(" OR ", " = ?"), name.as_str());
        }
        for beginning in &self.beginnings {
            let begins = of_row!(" OR SUBSTR(", ", 1, LENGTH(?)) = ?");
            rows = rows.and(begins, beginning.as_str());
        }
        rows.sql(")")
    }
}

fn unknown(name: &str, known: &[EventType]) -> Error {
    let resources: BTreeSet<&str> = known
        .iter()
        .filter_map(|one| one.r#type.split_once('.'))
        .map(|(before, _)| before)
        .collect();
    let (quoted, near) = match name.strip_suffix(".*") {
        Some(resource) => {
            let near = nearest(resource, &resources.into_iter().collect::<Vec<_>>());
            (named(resource), near.map(|near| format!("{near}.*")))
        }
        None => {
            let names: Vec<&str> = known.iter().map(|one| one.r#type).collect();
            (named(name), nearest(name, &names).map(str::to_owned))
        }
    };
    let hint = near.map_or(String::new(), |near| format!(" Did you mean `{near}`?"));
    let detail = format!(
        "`types` has an unknown type: {quoted}.{hint} `GET /api/v1/event-types` lists all types."
    );
    Error::invalid("types", detail)
}
