//! Requests that wait for something to happen: long polls and streams.
//!
//! # Design
//! A waiting request holds no connection of the database, only memory and a socket. Each caller and each
//! replica has a maximum of them. Beyond it, the server answers at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::kernel::app::Part;

/// The most waiting requests of a replica, and of one caller.
const MOST: usize = 1024;
const MOST_EACH: usize = 4;

/// The number of waiting requests by caller.
#[derive(Default)]
pub struct Waiting(Arc<Mutex<HashMap<Uuid, usize>>>);

impl Part for Waiting {}

impl Waiting {
    /// Takes a place for a request. `None` when the caller or the replica has the most.
    pub fn place(&self, caller: Uuid) -> Option<Slot> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&caller).copied().unwrap_or(0);
        if own >= MOST_EACH || taken.values().sum::<usize>() >= MOST {
            return None;
        }
        taken.insert(caller, own + 1);
        drop(taken);
        Some(Slot { taken: self.0.clone(), caller })
    }
}

/// The place of a request that waits, until it is dropped.
pub struct Slot {
    taken: Arc<Mutex<HashMap<Uuid, usize>>>,
    caller: Uuid,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.caller) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.caller);
            }
        }
    }
}
