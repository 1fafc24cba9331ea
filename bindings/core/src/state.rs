//! The operator's view of a state file, as JSON.

use std::path::Path;

use serde_json::{Value, json};

use crate::Failure;

/// Returns the content of a state file, except the log. Does not change the file.
///
/// # Errors
///
/// Returns the failure `settings_invalid` when the file cannot be read.
pub fn state_record(state: &Path) -> Result<Value, Failure> {
    Ok(json!(dp_verifier::state_record(state).map_err(Failure::settings)?))
}

/// Resets times, keys, status lists and license files in a state file, with a reason. The log and the
/// numbers of usage reports stay. Returns the new content.
///
/// # Errors
///
/// Returns the failure `argument_invalid` without a reason, and `settings_invalid` when the file
/// cannot be read or written.
pub fn reset_state(state: &Path, because: &str) -> Result<Value, Failure> {
    require(because)?;
    Ok(json!(dp_verifier::reset_state(state, because).map_err(Failure::settings)?))
}

/// Returns the issuer's log in a state file. Does not change the file.
///
/// # Errors
///
/// Returns the failure `settings_invalid` when the file cannot be read.
pub fn log_record(state: &Path) -> Result<Value, Failure> {
    Ok(json!(dp_verifier::log_record(state).map_err(Failure::settings)?))
}

/// Accepts the issuer's log in a state file after a contradiction, with a reason. Returns the new
/// record.
///
/// # Errors
///
/// Returns the failure `argument_invalid` without a reason, and `settings_invalid` when the file has no
/// log or cannot be read or written.
pub fn accept_log(state: &Path, because: &str) -> Result<Value, Failure> {
    require(because)?;
    Ok(json!(dp_verifier::accept_log(state, because).map_err(Failure::settings)?))
}

fn require(because: &str) -> Result<(), Failure> {
    match because.trim().is_empty() {
        true => Err(Failure::argument("`because` must name the reason")),
        false => Ok(()),
    }
}
