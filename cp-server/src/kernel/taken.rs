//! The message for a violated unique index, for every table.
//!
//! # Design
//! A unique index is named after its table and columns: `projects_slug`. The message consists of
//! the column and the table's noun, which its slice declares, so an ordinary resource writes none.
//! A slice that knows more uses [`OnConflict`](crate::kernel::error::OnConflict).

use std::sync::OnceLock;

use cp_contracts::ProblemCode;

/// The noun of one row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Noun {
    pub table: &'static str,
    pub noun: &'static str,
    /// Whether the rows belong to organizations, so that a value is unique within one.
    pub is_of_organization: bool,
}

/// The nouns of all declared tables.
static NOUNS: OnceLock<Vec<Noun>> = OnceLock::new();

/// Publishes the nouns of all slices; later calls change nothing.
pub(in crate::kernel) fn publish(nouns: impl FnOnce() -> Vec<Noun>) {
    NOUNS.get_or_init(nouns);
}

/// The last column of a unique index, the request's field and the problem's code.
const FIELDS: &[(&str, &str, ProblemCode)] = &[
    ("slug", "slug", ProblemCode::SlugTaken),
    ("external_id", "external_id", ProblemCode::ExternalIdTaken),
    ("name", "name", ProblemCode::NameTaken),
    ("code", "code", ProblemCode::CodeTaken),
    ("email_key", "email", ProblemCode::EmailTaken),
    ("email_domain", "email_domain", ProblemCode::EmailDomainTaken),
];

/// A value that another object already has.
pub(in crate::kernel) struct Taken {
    pub code: ProblemCode,
    pub field: &'static str,
    pub detail: String,
}

/// Returns the refusal for a violated index, if its table and column are known.
pub(in crate::kernel) fn taken(index: &str) -> Option<Taken> {
    let nouns = NOUNS.get().map(Vec::as_slice).unwrap_or_default();
    let (noun, columns) = nouns.iter().find_map(|noun| {
        let columns = index.strip_prefix(noun.table)?.strip_prefix('_')?;
        Some((noun, columns))
    })?;
    let is_last = |column: &str| {
        columns.strip_suffix(column).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
    };
    let (_, field, code) = FIELDS.iter().find(|(column, ..)| is_last(column))?;
    let is_within = noun.is_of_organization && noun.table != "organizations";
    let place = if is_within { " of the organization" } else { "" };
    let detail = format!("`{field}` is already used by another {}{place}.", noun.noun);
    Some(Taken { code: code.clone(), field, detail })
}
