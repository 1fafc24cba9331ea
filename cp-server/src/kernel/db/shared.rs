//! A connection that several reads share, and what they and recent reads found.
//!
//! # Design
//! The reads of a page have one state of the database, so a statement finds the same rows each time.
//! The authorization of each read looks up the owner of its row: those of a page are often the same.

use std::fmt::Display;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::found::Found;
use super::recent::{Finding, SeenRecent};
use super::{Conn, Db};

/// A connection that reads one state of the database, for several reads in turn.
#[derive(Clone)]
pub struct SharedConn(Arc<Mutex<(Conn, Found)>>);

impl SharedConn {
    pub(in crate::kernel) fn new(conn: Conn) -> Self {
        Self(Arc::new(Mutex::new((conn, Found::default()))))
    }

    /// Returns the connection when the other reads do not use it.
    pub(in crate::kernel) async fn turn(&self) -> Conn {
        Conn::Shared(self.0.clone().lock_owned().await)
    }
}

impl Db {
    /// Returns a connection for reading, whose first statements may be answered by recent ones.
    pub(in crate::kernel) fn read_after(&self, recent: SeenRecent) -> Conn {
        Conn::Idle(self.clone(), Some(recent))
    }
}

impl Conn {
    /// Begins a read whose finding other reads may use.
    pub(in crate::kernel) fn finding(&self) -> Option<Finding> {
        let Self::Idle(_, Some(recent)) = self else { return None };
        Some(recent.finding())
    }

    /// Returns what an earlier read found by the statement and the value, on this shared connection or
    /// in the last second.
    pub(in crate::kernel) fn recall<T: Copy + 'static>(
        &self,
        sql: &'static str,
        value: impl Display,
    ) -> Option<T> {
        match self {
            Self::Shared(shared) => shared.1.get(sql, value.to_string()),
            Self::Idle(_, Some(recent)) => recent.get(sql, value.to_string()),
            _ => None,
        }
    }

    /// Keeps what was found for the later reads of a shared connection.
    pub(in crate::kernel) fn remember<T: Send + Sync + 'static>(
        &mut self,
        sql: &'static str,
        value: impl Display,
        found: T,
    ) {
        if let Self::Shared(shared) = self {
            shared.1.keep(sql, value.to_string(), found);
        }
    }
}
