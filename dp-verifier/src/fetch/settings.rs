//! How keys are fetched.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct FetchSettings {
    /// Where the last good set is kept over restarts.
    pub(crate) store: Option<PathBuf>,
    /// The PEM file of the only authorities to trust; none for the public ones.
    pub(crate) ca: Option<PathBuf>,
    /// For how many seconds after its fetch a set may be used.
    pub(crate) max_stale: i64,
    /// How soon after a fetch an unknown key or a failure may cause the next.
    pub(crate) cooldown: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self { store: None, ca: None, max_stale: 7 * 86_400, cooldown: Duration::from_secs(30) }
    }
}
