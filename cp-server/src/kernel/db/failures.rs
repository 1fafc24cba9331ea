//! Failures that the drivers report: a commit with an unknown outcome, and the constraint that
//! refused a row.

/// A connection was lost during a commit: only the database knows the outcome.
#[derive(Debug)]
pub(in crate::kernel) struct InDoubt(pub(super) std::io::Error);

impl std::fmt::Display for InDoubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the connection was lost during a commit: {}", self.0)
    }
}

impl std::error::Error for InDoubt {}

/// Whether PostgreSQL or a pooler in front of it ended the connection: SQLSTATE classes 08
/// (connection exception) and 57P (operator intervention).
pub(in crate::kernel) fn is_disconnected(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code = error.code();
    let code = code.as_deref().unwrap_or_default();
    code.len() == 5 && (code.starts_with("08") || code.starts_with("57P"))
}

/// Returns the name of the index whose constraint refused a row, such as `workspaces_slug`.
///
/// PostgreSQL names the index. SQLite lists the columns (`workspaces.organization_id,
/// workspaces.slug`), unless the index is on an expression. So indexes are named after their table
/// and columns, without an `organization_id` that precedes others.
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
