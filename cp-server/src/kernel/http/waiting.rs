//! Requests that wait for something to happen: long polls and streams.
//!
//! # Design
//! A waiting request holds no connection of the database, only memory and a socket. Each caller, each
//! organization and each replica has a maximum of them. The organizations together leave the platform
//! places of its own. Beyond a maximum, the server answers at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::shares::Owner;
use crate::kernel::app::Part;

/// The most waiting requests of a replica, of all organizations together, of one organization, and of
/// one caller.
const MOST: usize = 1024;
const MOST_OF_ORGANIZATIONS: usize = 768;
const MOST_OF_ORGANIZATION: usize = 256;
const MOST_EACH: usize = 4;

/// The number of waiting requests by owner and caller.
type Taken = HashMap<(Owner, Uuid), usize>;

/// The requests that wait.
#[derive(Default)]
pub struct Waiting(Arc<Mutex<Taken>>);

impl Part for Waiting {}

impl Waiting {
    /// Takes a place for the caller's request about this organization, or about the platform. `None` when
    /// the caller, the organization or the replica has the most.
    pub fn place(&self, caller: &Caller, organization: Option<OrganizationId>) -> Option<Slot> {
        let owner = Owner::of(caller, organization);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |is_counted: &dyn Fn(Owner, Uuid) -> bool| -> usize {
            let counted = taken.iter().filter(|((owner, caller), _)| is_counted(*owner, *caller));
            counted.map(|(_, count)| count).sum()
        };
        let is_full = count(&|_, other| other == caller.id) >= MOST_EACH
            || count(&|_, _| true) >= MOST
            || owner != Owner::Platform
                && (count(&|other, _| other == owner) >= MOST_OF_ORGANIZATION
                    || count(&|other, _| other != Owner::Platform) >= MOST_OF_ORGANIZATIONS);
        if is_full {
            return None;
        }
        let key = (owner, caller.id);
        *taken.entry(key).or_insert(0) += 1;
        drop(taken);
        Some(Slot { taken: self.0.clone(), key })
    }
}

/// The place of a request that waits, until it is dropped.
pub struct Slot {
    taken: Arc<Mutex<Taken>>,
    key: (Owner, Uuid),
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::access::caller::{Privileges, Scope};

    fn id(n: u128) -> OrganizationId {
        OrganizationId(Uuid::from_u128(n))
    }

    /// A token of an organization.
    fn token(organization: u128, n: u128) -> Caller {
        let scope = Scope::Organization { organization_id: id(organization) };
        let own = Uuid::from_u128(organization << 64 | n);
        Caller::machine(own, String::new(), scope, Privileges::all())
    }

    /// A token of the platform.
    fn operator(n: u128) -> Caller {
        Caller::machine(Uuid::from_u128(n), String::new(), Scope::Platform, Privileges::all())
    }

    /// Takes places with as many callers as necessary, up to this number.
    fn fill(waiting: &Waiting, organization: u128, most: usize) -> Vec<Slot> {
        let callers = (0..).map(|n| token(organization, n));
        let places = callers.flat_map(|caller| {
            (0..MOST_EACH).map(move |_| waiting.place(&caller, Some(id(organization))))
        });
        places.take(most).map_while(|slot| slot).collect()
    }

    #[test]
    fn caller_organization_and_replica_have_a_maximum() {
        let waiting = Waiting::default();
        let own: Vec<Slot> =
            (0..9).map_while(|_| waiting.place(&token(1, 0), Some(id(1)))).collect();
        assert_eq!(own.len(), 4);
        drop(own);
        let first = fill(&waiting, 1, 2000);
        assert_eq!(first.len(), 256, "one organization leaves others their places");
        let others = [fill(&waiting, 2, 2000), fill(&waiting, 3, 2000)];
        assert_eq!(others.iter().map(Vec::len).sum::<usize>(), 512);
        assert!(waiting.place(&token(4, 0), Some(id(4))).is_none(), "768 of organizations");
        let callers = (0..).map(operator);
        let platforms: Vec<Slot> =
            callers.map_while(|caller| waiting.place(&caller, Some(id(1)))).take(2000).collect();
        assert_eq!(platforms.len(), 256, "the platform keeps its own");
        drop(first);
        assert!(waiting.place(&token(4, 0), Some(id(4))).is_some());
        drop((others, platforms));
        assert!(waiting.0.lock().unwrap().is_empty());
    }
}
