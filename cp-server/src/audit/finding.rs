//! The findings of verification.

use std::fmt;

use crate::kernel::access::ids::AuditEventId;
use crate::kernel::error::Error;

/// The first difference between the stored log and the replay.
#[derive(Debug)]
pub struct Finding {
    /// The event's place in the log.
    pub seq: Option<u64>,
    pub event: Option<AuditEventId>,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.seq, self.event) {
            (Some(seq), Some(event)) => write!(f, "seq {seq} (event {event}): {}", self.what),
            (Some(seq), None) => write!(f, "seq {seq}: {}", self.what),
            (None, Some(event)) => write!(f, "event {event}: {}", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

/// Why verification stopped early.
#[derive(Debug)]
pub enum Stopped {
    Found(Finding),
    /// The database could not be read.
    Failed(anyhow::Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<sqlx::Error> for Stopped {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

pub type Verified<T> = Result<T, Stopped>;

pub(super) fn found<T>(
    seq: Option<u64>,
    event: Option<AuditEventId>,
    what: impl Into<String>,
) -> Verified<T> {
    Err(Stopped::Found(Finding { seq, event, what: what.into() }))
}
