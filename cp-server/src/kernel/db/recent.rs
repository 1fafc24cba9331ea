//! What reads found in the last second, for the reads that follow.
//!
//! # Design
//! Each read begins with the owner of its row, which seldom changes. So an owner is looked up once a second.
//! What was found is valid as long as the rights of callers are: a change on this replica that may matter
//! ends it at once, and one on another replica is visible a second later. Transactions that write never use
//! it. Callers use only what is of their own organizations: for others, a row that exists would be found
//! faster than one that does not.

use std::any::Any;
use std::fmt::Display;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::cache::{Cache, Generations, Mark};
use crate::kernel::clock::Clock;

/// The time for which something found is valid.
const VALID: TimeDelta = TimeDelta::seconds(1);

/// What was found, by a statement and its only value.
pub struct Recent {
    found: Cache<(&'static str, String), Known>,
    changes: Arc<Generations>,
    clock: Clock,
}

#[derive(Clone)]
struct Known {
    mark: Mark,
    organization: OrganizationId,
    found: Arc<dyn Any + Send + Sync>,
}

impl Recent {
    /// Creates the cache of an application. `changes` are those that end what was found.
    pub fn new(changes: Arc<Generations>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { found: Cache::default(), changes, clock })
    }

    /// Returns the part that members of these organizations see; `None` sees all.
    pub(in crate::kernel) fn seen_by(
        self: &Arc<Self>,
        organizations: Option<Vec<OrganizationId>>,
    ) -> SeenRecent {
        SeenRecent { recent: self.clone(), organizations }
    }
}

/// The part of what was found that a caller sees.
pub struct SeenRecent {
    recent: Arc<Recent>,
    organizations: Option<Vec<OrganizationId>>,
}

impl SeenRecent {
    /// Begins a read that may keep what it finds.
    pub(super) fn finding(&self) -> Finding {
        Finding { recent: self.recent.clone(), since: self.recent.changes.now() }
    }

    pub(super) fn get<T: Copy + 'static>(&self, sql: &'static str, value: String) -> Option<T> {
        let recent = &self.recent;
        let known = recent.found.recall(&(sql, value), 0, recent.clock.now())?;
        let seen = self.organizations.as_ref();
        let is_seen = seen.is_none_or(|seen| seen.contains(&known.organization));
        let is_valid = is_seen && recent.changes.is_current(&known.mark);
        is_valid.then(|| known.found.downcast_ref().copied())?
    }
}

/// A read that may keep what it finds.
pub(in crate::kernel) struct Finding {
    recent: Arc<Recent>,
    /// The changes before the read.
    since: u64,
}

impl Finding {
    /// Keeps what the read found in an organization, unless something has changed meanwhile.
    pub(in crate::kernel) fn keep<T: Send + Sync + 'static>(
        self,
        sql: &'static str,
        value: impl Display,
        organization: OrganizationId,
        found: T,
    ) {
        let Self { recent, since } = self;
        if let Some(mark) = recent.changes.mark(std::iter::once(organization), since) {
            let until = recent.clock.now() + VALID;
            let known = Known { mark, organization, found: Arc::new(found) };
            recent.found.keep((sql, value.to_string()), known, 0, until);
        }
    }
}
