//! The settings of the threads.

use std::path::PathBuf;
use std::time::Duration;

use super::credential::Credential;

/// The settings of check-ins.
#[derive(Default)]
pub(crate) struct CheckInSettings {
    pub(crate) url: Option<(String, Credential)>,
    /// The file that keeps the token over restarts.
    pub(crate) store: Option<PathBuf>,
}

#[derive(Clone)]
pub(crate) struct FetchSettings {
    /// The file that keeps the last valid set over restarts.
    pub(crate) store: Option<PathBuf>,
    /// The PEM file of the only trusted authorities. `None` for the public ones.
    pub(crate) ca: Option<PathBuf>,
    /// The maximum age of a fetched set, in seconds.
    pub(crate) max_stale: i64,
    /// The minimum time between a fetch and the next one for an unknown key or after a failure.
    pub(crate) cooldown: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self { store: None, ca: None, max_stale: 7 * 86_400, cooldown: Duration::from_secs(30) }
    }
}
