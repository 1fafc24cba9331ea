//! The lines of an import's answer.

use cp_contracts::Problem;
use serde::Serialize;

use super::kind::Kind;

crate::text_enum! {
    /// The outcome of a line.
    LineStatus {
        Created = "created",
        Updated = "updated",
        Unchanged = "unchanged",
        Refused = "refused",
    }
}

/// The answer to one line.
#[derive(Debug, Serialize)]
pub struct LineAnswer {
    pub line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    pub status: LineStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// The counts of an import, by outcome.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub dry_run: bool,
    pub lines: u64,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub refused: u64,
}

impl Summary {
    pub fn add(&mut self, status: LineStatus) {
        self.lines += 1;
        *match status {
            LineStatus::Created => &mut self.created,
            LineStatus::Updated => &mut self.updated,
            LineStatus::Unchanged => &mut self.unchanged,
            LineStatus::Refused => &mut self.refused,
        } += 1;
    }
}

/// The last line of an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LastLine {
    /// All lines were applied or refused.
    Summary(Summary),
    /// The import ended before its last line.
    Problem(Problem),
}
