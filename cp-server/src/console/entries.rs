//! Checks of the entries of a form that no operation can make: its input would not show the fault.

use std::collections::BTreeSet;

use super::form::Entries;
use super::rows::broken_rule;
use super::schema::{Control, Field};
use crate::kernel::error::Result;
use crate::kernel::http::json::refusal::{self, Refusal};

/// The rule of an entry that has one value.
const ONCE: &str = "must be sent only once";

/// Refuses entries of one value that are sent twice, and rows that share a name or have no value of
/// their kind. `asks` is the entry of the path.
pub(super) fn check(fields: &[Field], asks: Option<&str>, entries: &Entries) -> Result<()> {
    let mut seen = BTreeSet::new();
    let repeated = entries.iter().map(|(name, _)| &**name).filter(|name| !seen.insert(*name));
    let repeated: BTreeSet<&str> = repeated.collect();
    let mut refusals = Vec::new();
    if let Some(asks) = asks.filter(|name| repeated.contains(name)) {
        refusals.push(Refusal::new(asks, ONCE));
    }
    add(fields, "", (entries, &repeated), &mut refusals);
    match refusals.is_empty() {
        true => Ok(()),
        false => Err(refusal::error(refusals)),
    }
}

/// Adds the refusals of the fields, and of those within them.
fn add(
    fields: &[Field],
    prefix: &str,
    (entries, repeated): (&Entries, &BTreeSet<&str>),
    refusals: &mut Vec<Refusal>,
) {
    for field in fields {
        let name = format!("{prefix}{}", field.name);
        let below = format!("{name}/");
        let rule = match &field.control {
            Control::Group(fields) => {
                add(fields, &below, (entries, repeated), refusals);
                None
            }
            // Each entry is one of the words.
            Control::Several(_) => None,
            Control::Rows if repeated.iter().any(|entry| entry.starts_with(&below)) => {
                Some(ONCE.to_owned())
            }
            Control::Rows => broken_rule(entries, &name),
            _ => repeated.contains(&*name).then(|| ONCE.to_owned()),
        };
        refusals.extend(rule.map(|rule| Refusal::new(&name.replace('/', "."), &rule)));
    }
}
