//! What the reads of one state of the database found.

use std::any::Any;
use std::collections::HashMap;

/// What was found, by a statement and its only value.
#[derive(Default)]
pub struct Found(HashMap<(&'static str, String), Box<dyn Any + Send + Sync>>);

impl Found {
    pub(super) fn get<T: Copy + 'static>(&self, sql: &'static str, value: String) -> Option<T> {
        self.0.get(&(sql, value))?.downcast_ref().copied()
    }

    pub(super) fn keep<T: Send + Sync + 'static>(
        &mut self,
        sql: &'static str,
        value: String,
        found: T,
    ) {
        self.0.insert((sql, value), Box::new(found));
    }
}
