//! Shares of work that a replica runs in small numbers, such as exports.
//!
//! # Design
//! A slow reader keeps its place, so each organization has a share that it cannot exceed. The
//! organizations together leave the platform's own places free. Rejected: one semaphore for all,
//! which one owner with four slow connections held alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::error::{Error, Result};

/// The seconds after which a refused caller retries.
const RETRY_AFTER: u32 = 10;

/// The places of one kind of work.
#[derive(Clone, Debug)]
pub struct Shares(Arc<Kind>);

#[derive(Debug)]
struct Kind {
    /// The plural noun in messages.
    what: &'static str,
    /// The places of all organizations together; the platform has the same number.
    most: usize,
    /// Places of one organization.
    each: usize,
    taken: Mutex<HashMap<Owner, usize>>,
}

/// The owner of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kernel) enum Owner {
    Platform,
    Organization(OrganizationId),
}

impl Owner {
    /// Returns the owner of the caller's work on an organization.
    pub(in crate::kernel) fn of(caller: &Caller, organization: Option<OrganizationId>) -> Self {
        match organization {
            Some(organization) if !caller.is_of_platform() && !caller.is_narrowed => {
                Self::Organization(organization)
            }
            _ => Self::Platform,
        }
    }
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Share {
    kind: Arc<Kind>,
    owner: Owner,
}

impl Shares {
    pub fn new(what: &'static str, most: usize, each: usize) -> Self {
        Self(Arc::new(Kind { what, most, each, taken: Mutex::default() }))
    }

    /// Takes a place for the caller's work on this organization.
    ///
    /// # Errors
    /// 429 when the organization uses all of its places; 503 when no place is free.
    pub fn take(&self, caller: &Caller, organization: Option<OrganizationId>) -> Result<Share> {
        let owner = Owner::of(caller, organization);
        let Kind { what, most, each, .. } = *self.0;
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_platform = owner == Owner::Platform;
        let own = taken.get(&owner).copied().unwrap_or(0);
        if !is_platform && own >= each {
            let detail = format!(
                "The organization has {own} of {each} {what} running. Retry when one has ended."
            );
            return Err(Error::rate_limited("concurrent", detail, RETRY_AFTER)
                .with("metric", what)
                .with("limit", each)
                .with("used", own));
        }
        let pool = taken.iter().filter(|(other, _)| (**other == Owner::Platform) == is_platform);
        if pool.map(|(_, count)| count).sum::<usize>() >= most {
            let detail = format!("All places for {what} are taken. Retry when one is free.");
            return Err(Error::unavailable(detail, RETRY_AFTER));
        }
        taken.insert(owner, own + 1);
        Ok(Share { kind: self.0.clone(), owner })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.kind.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.owner) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::kernel::access::caller::{Privileges, Scope};

    #[test]
    fn an_organization_has_its_share_and_leaves_the_platform_its_own() {
        let shares = Shares::new("exports", 2, 1);
        let id = |n| OrganizationId(Uuid::from_u128(n));
        let own = |n| {
            let scope = Scope::Organization { organization_id: id(n) };
            Caller::machine(Uuid::nil(), String::new(), scope, Privileges::all())
        };
        let status = |caller: &Caller, n| match shares.take(caller, Some(id(n))) {
            Ok(_) => 200,
            Err(error) => error.document().status,
        };
        let first = shares.take(&own(1), Some(id(1))).unwrap();
        assert_eq!((status(&own(1), 1), status(&own(2), 2)), (429, 200));
        let second = shares.take(&own(2), Some(id(2))).unwrap();
        assert_eq!(status(&own(3), 3), 503);
        let platform = Caller::system("test");
        let _all = [1, 1].map(|n| shares.take(&platform, Some(id(n))).unwrap());
        assert_eq!(status(&platform, 2), 503);
        drop(first);
        assert_eq!((status(&own(1), 1), status(&own(3), 3), status(&own(2), 2)), (200, 200, 429));
        drop(second);
        assert!(shares.0.taken.lock().unwrap().len() == 1);
    }
}
