//! The settings of status lists.

use chrono::TimeDelta;

use crate::kernel::app::Part;

/// How the lists are published.
#[derive(Clone, Debug)]
pub struct StatusSettings {
    /// How long a data plane uses its copy before it asks again: also within which time it learns
    /// of a revocation.
    pub ttl: TimeDelta,
    /// After how long a published list says nothing any more.
    pub lifetime: TimeDelta,
}

impl Part for StatusSettings {}

impl Default for StatusSettings {
    fn default() -> Self {
        Self { ttl: TimeDelta::seconds(300), lifetime: TimeDelta::days(7) }
    }
}
