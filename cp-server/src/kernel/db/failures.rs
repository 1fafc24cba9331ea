//! What the drivers report: a commit whose outcome is unknown, and the constraint that refused a row.

/// A connection was lost while it committed: only the database knows whether that came about.
#[derive(Debug)]
pub(in crate::kernel) struct InDoubt(pub(super) std::io::Error);

impl std::fmt::Display for InDoubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the connection was lost in a commit: {}", self.0)
    }
}

impl std::error::Error for InDoubt {}

/// The constraint that refused a row, by the name of its index: `workspaces_slug`.
///
/// PostgreSQL names the index. SQLite lists the columns (`workspaces.organization_id,
/// workspaces.slug`) unless the index is on an expression. Indexes are therefore named after
/// their table and columns, an `organization_id` before others left out.
pub fn constraint_of(error: &dyn sqlx::error::DatabaseError) -> String {
    if let Some(name) = error.constraint() {
        return name.to_owned();
    }
    let message = error.message();
    let what = message.rsplit("failed: ").next().unwrap_or(message);
    if let Some(name) = what.strip_prefix("index '").and_then(|rest| rest.strip_suffix('\'')) {
        return name.to_owned();
    }
    let mut name = String::new();
    for column in what.split(", ") {
        let (table, column) = column.split_once('.').unwrap_or(("", column));
        if name.is_empty() {
            name.push_str(table);
        }
        if column != "organization_id" || !what.contains(", ") {
            name.push('_');
            name.push_str(column);
        }
    }
    name
}
