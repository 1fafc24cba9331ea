//! The settings of status lists.

use chrono::TimeDelta;

use crate::kernel::app::Part;

/// The publication of the lists.
#[derive(Clone, Debug)]
pub struct StatusSettings {
    /// How long a data plane uses its copy before it fetches the list again. A revocation reaches
    /// the data plane within that time.
    pub ttl: TimeDelta,
    /// How long a published list is valid.
    pub lifetime: TimeDelta,
}

impl Part for StatusSettings {}

impl Default for StatusSettings {
    fn default() -> Self {
        Self { ttl: TimeDelta::seconds(300), lifetime: TimeDelta::days(7) }
    }
}
