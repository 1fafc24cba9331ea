//! The state of sending in this replica: its clients, and its places for attempts.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::fanout::Position;
use super::rows::WebhookId;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::Part;
use crate::kernel::outbound::FetchSettings;
use crate::kernel::outbound::mailing::{MailSettings, Relay};
use crate::kernel::outbound::posting::Poster;

/// The most attempts at once of an organization, and of a replica.
const OF_OWNER: usize = 64;
const OF_ALL: usize = 512;

/// The state of sending in this replica.
pub struct Sending {
    pub poster: Poster,
    /// The SMTP server, if one is set.
    pub relay: Option<Arc<Relay>>,
    pub(super) position: Position,
    pub(super) woken: Notify,
    /// Notified when the task of an endpoint has ended.
    pub(super) ended: Notify,
    /// Whether confirmations are being sent.
    pub(super) asks: AtomicBool,
    busy: Mutex<Busy>,
}

/// The endpoints with a task, and the attempts of each owner.
#[derive(Default)]
pub(super) struct Busy {
    pub(super) endpoints: HashSet<WebhookId>,
    attempts: HashMap<Option<OrganizationId>, usize>,
}

impl Busy {
    /// Returns the number of places that the owner may take.
    fn places(&self, owner: Option<OrganizationId>) -> usize {
        let all: usize = self.attempts.values().sum();
        let own = self.attempts.get(&owner).copied().unwrap_or(0);
        OF_OWNER.saturating_sub(own).min(OF_ALL.saturating_sub(all))
    }
}

impl Part for Sending {
    fn committed(&self) {
        self.wake();
    }
}

impl Sending {
    pub fn new(settings: FetchSettings, mail: MailSettings) -> Self {
        Self {
            poster: Poster::new(settings),
            relay: mail.0,
            asks: AtomicBool::new(false),
            position: Position::default(),
            woken: Notify::new(),
            ended: Notify::new(),
            busy: Mutex::default(),
        }
    }

    /// Signals that deliveries may be due.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    pub(super) fn busy(&self) -> std::sync::MutexGuard<'_, Busy> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the owner has a place for an attempt.
    pub(super) fn has_place(&self, owner: Option<OrganizationId>) -> bool {
        self.busy().places(owner) > 0
    }

    /// Takes up to `wanted` places for attempts. Returns their number.
    pub(super) fn take(&self, owner: Option<OrganizationId>, wanted: usize) -> usize {
        let mut busy = self.busy();
        let taken = wanted.min(busy.places(owner));
        if taken > 0 {
            *busy.attempts.entry(owner).or_insert(0) += taken;
        }
        taken
    }

    pub(super) fn give_back(&self, owner: Option<OrganizationId>, places: usize) {
        let mut busy = self.busy();
        if let Some(own) = busy.attempts.get_mut(&owner) {
            *own = own.saturating_sub(places);
            if *own == 0 {
                busy.attempts.remove(&owner);
            }
        }
    }
}
