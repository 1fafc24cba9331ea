//! The settings of signing keys.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::row::KeyRow;
use super::service::SigningService;
use super::state::KeyState;
use crate::kernel::app::Part;

/// The settings of signing keys.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The size of new keys in bits.
    pub bits: u32,
    /// The time in seconds for which a data plane may use its copy of the JWKS.
    pub jwks_max_age: u32,
    /// The age at which a key is replaced by the next one; `None` for no automatic rotation.
    pub rotate_after: Option<TimeDelta>,
    /// The signing service that makes and keeps new keys; `None` for keys in the database.
    pub service: Option<Arc<SigningService>>,
}

impl Part for KeySettings {}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            bits: 2048,
            jwks_max_age: 300,
            rotate_after: Some(TimeDelta::days(90)),
            service: None,
        }
    }
}

impl KeySettings {
    /// Returns the time until every copy of the JWKS contains a key that is published now. Caches
    /// keep a copy for its maximum age, and may use it for as long again while they fetch the next.
    /// A minute is added for replicas and clocks.
    pub fn propagation(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.jwks_max_age) * 2 + 60)
    }

    /// Returns the instant of the next rotation: an imported key's own, or the end of the active
    /// key's age.
    pub fn next_rotation(&self, keys: &[KeyRow]) -> Option<DateTime<Utc>> {
        let active = keys.iter().find(|key| key.state == KeyState::Active)?;
        let due = active.activated_at.zip(self.rotate_after).map(|(at, age)| at + age);
        due.into_iter().chain(keys.iter().filter_map(|key| key.activate_at)).min()
    }
}
