//! A table and its columns.

/// A table and its columns, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    /// PostgreSQL's own name of the type; nothing on SQLite, whose values tell.
    pub(super) kind: String,
}
