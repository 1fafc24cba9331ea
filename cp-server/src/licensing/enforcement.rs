//! Enforcement: the rules in a token for a data plane whose status list is old.

use chrono::TimeDelta;
use cp_contracts::Enforcement;
use serde_json::Map;

pub use super::issuance::request::OnStale;
use super::issuance::request::{Form, NewBundle};
use crate::kernel::app::Part;

/// The default rules in tokens.
#[derive(Clone, Debug)]
pub struct EnforcementSettings {
    pub status_max_age: TimeDelta,
    pub on_stale: OnStale,
    pub grace: TimeDelta,
}

impl Part for EnforcementSettings {}

impl Default for EnforcementSettings {
    fn default() -> Self {
        Self {
            status_max_age: TimeDelta::days(7),
            on_stale: OnStale::Degrade,
            grace: TimeDelta::zero(),
        }
    }
}

/// The default maximum age of the status list in a file, in seconds: a quarter, and some days to
/// carry the next file.
const FILE_STATUS_MAX_AGE: i64 = 100 * 86_400;

/// Returns the rules in the token. Their grace ends when the license is no longer `covered`.
pub fn of_token(
    settings: &EnforcementSettings,
    new: &NewBundle,
    covered: Option<TimeDelta>,
) -> Enforcement {
    let max_age = match (&new.status_max_age_seconds, new.form) {
        (Some(seconds), _) => seconds.0,
        (None, Some(Form::File)) => FILE_STATUS_MAX_AGE,
        (None, _) => settings.status_max_age.num_seconds(),
    };
    let grace = new.grace_seconds.as_ref().map_or(settings.grace.num_seconds(), |grace| grace.0);
    Enforcement {
        status_max_age: max_age,
        on_stale: new.on_stale.unwrap_or(settings.on_stale).as_str().into(),
        grace_seconds: covered.map_or(grace, |covered| grace.min(covered.num_seconds())),
        extra: Map::new(),
    }
}
