//! The members of a resource that a request asks for (RFC 7644, section 3.9).

use serde_json::{Map, Value};

use super::protocol::invalid_value;
use super::shapes::without_schema;
use crate::kernel::error::Result;

/// The largest number of names in `attributes` or `excludedAttributes`.
const NAMES: usize = 50;
/// The members that no request can exclude.
const ALWAYS: [&str; 2] = ["schemas", "id"];

/// The members that a response has.
#[derive(Debug, Default)]
pub(super) struct Projection {
    only: Option<Vec<String>>,
    without: Vec<String>,
}

impl Projection {
    pub(super) fn new(attributes: Option<&str>, excluded: Option<&str>) -> Result<Self> {
        if attributes.is_some() && excluded.is_some() {
            let detail =
                "`attributes` must not be sent with `excludedAttributes`. Send one of them.";
            return Err(invalid_value(detail));
        }
        let only = attributes.map(names).transpose()?;
        Ok(Self { only, without: excluded.map(names).transpose()?.unwrap_or_default() })
    }

    /// Returns whether the response has any part of the member.
    pub(super) fn has(&self, member: &str) -> bool {
        let member = member.to_lowercase();
        let is_named = |name: &String| name.split('.').next() == Some(&member);
        self.only.as_ref().is_none_or(|only| only.iter().any(is_named))
            && !self.without.contains(&member)
    }

    pub(super) fn apply(&self, body: &mut Map<String, Value>) {
        body.retain(|member, _| ALWAYS.contains(&&**member) || self.has(member));
        for (member, value) in body {
            let prefix = format!("{}.", member.to_lowercase());
            let parts = |names: &[String]| -> Vec<String> {
                names
                    .iter()
                    .filter_map(|name| name.strip_prefix(&prefix))
                    .map(String::from)
                    .collect()
            };
            if let Some(only) = &self.only
                && !only.contains(&member.to_lowercase())
            {
                let kept = parts(only);
                retain(value, &|name| kept.iter().any(|part| part == name));
            }
            let left_out = parts(&self.without);
            retain(value, &|name| !left_out.iter().any(|part| part == name));
        }
    }
}

/// Keeps the members of an object, or of each object in an array.
fn retain(value: &mut Value, keeps: &dyn Fn(&str) -> bool) {
    match value {
        Value::Object(members) => members.retain(|name, _| keeps(&name.to_lowercase())),
        Value::Array(items) => items.iter_mut().for_each(|item| {
            if let Value::Object(members) = item {
                members.retain(|name, _| keeps(&name.to_lowercase()));
            }
        }),
        _ => {}
    }
}

fn names(text: &str) -> Result<Vec<String>> {
    let names = text.split(',').map(|name| without_schema(name.trim()).to_lowercase());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    match names.len() {
        0..=NAMES => Ok(names),
        n => Err(invalid_value(format!("At most {NAMES} attributes can be named (got {n})."))),
    }
}
