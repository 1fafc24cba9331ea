//! The operator's view of a state file. Changes wait for other processes that use the file.

use std::path::Path;

use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

use crate::task::job;

/// Returns the content of a state file, except the log.
#[napi(catch_unwind)]
pub fn state_record(env: &Env, path: String) -> Result<Object<'_>> {
    job(env, move || Ok(dp_verifier_bindings::state_record(Path::new(&path))?.to_string()))
}

/// Resets times, keys, status lists and license files in a state file, with a reason.
#[napi(catch_unwind)]
pub fn reset_state(env: &Env, path: String, because: String) -> Result<Object<'_>> {
    job(env, move || Ok(dp_verifier_bindings::reset_state(Path::new(&path), &because)?.to_string()))
}

/// Returns the issuer's log in a state file.
#[napi(catch_unwind)]
pub fn log_record(env: &Env, path: String) -> Result<Object<'_>> {
    job(env, move || Ok(dp_verifier_bindings::log_record(Path::new(&path))?.to_string()))
}

/// Accepts the issuer's log in a state file after a contradiction, with a reason.
#[napi(catch_unwind)]
pub fn accept_log(env: &Env, path: String, because: String) -> Result<Object<'_>> {
    job(env, move || Ok(dp_verifier_bindings::accept_log(Path::new(&path), &because)?.to_string()))
}
