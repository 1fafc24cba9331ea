//! Enforcement: what a token asks of a data plane that cannot know better.

use chrono::TimeDelta;
use cp_contracts::Enforcement;
use serde_json::Map;

pub use super::issuance::request::OnStale;
use super::issuance::request::{Form, NewBundle};
use crate::kernel::app::Part;

/// What tokens ask of data planes unless their request says otherwise.
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

/// How old the status list of a data plane without a network may be: a quarter, and some days for
/// whoever carries the next file.
const FILE_STATUS_MAX_AGE: i64 = 100 * 86_400;

/// What the token asks of the data plane. Its grace ends when the license is no longer `covered`.
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
