//! The settings of signing keys.

use chrono::TimeDelta;

use crate::kernel::app::Part;

/// How signing keys live.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The size of new keys.
    pub bits: u32,
    /// Seconds that a data plane may use its copy of the JWKS before it asks again.
    pub jwks_max_age: u32,
    /// The age at which a key is followed by the next one; never when absent.
    pub rotate_after: Option<TimeDelta>,
}

impl Part for KeySettings {}

impl Default for KeySettings {
    fn default() -> Self {
        Self { bits: 2048, jwks_max_age: 300, rotate_after: Some(TimeDelta::days(90)) }
    }
}

impl KeySettings {
    /// How long it takes until every copy of the JWKS has a key that is published now: caches keep
    /// one for its maximum age and may use it for as long again while they fetch the next; a minute
    /// is for replicas and clocks.
    pub fn propagation(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.jwks_max_age) * 2 + 60)
    }
}
