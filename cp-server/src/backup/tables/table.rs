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
    /// PostgreSQL's name of the type; empty on SQLite, where each value has its own type.
    pub(super) kind: String,
}
