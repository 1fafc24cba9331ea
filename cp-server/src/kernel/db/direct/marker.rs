//! The name by which sqlx knows the database of this module.

/// SQLite, read on the thread that asks.
#[derive(Debug)]
pub enum Direct {}
