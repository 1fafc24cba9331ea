//! The operator's view of a state file.

use std::ffi::c_char;
use std::path::Path;

use dp_verifier_bindings::{accept_log, log_record, reset_state, state_record};

use crate::DpvCode;
use crate::memory::{answered, text};

/// Writes the content of a state file, except the log, as JSON. `state` is the path of the file.
///
/// # Safety
///
/// Strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_state_record(
    state: *const c_char,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a string or NULL.
        let state = unsafe { text("state", state) }?;
        Ok(state_record(Path::new(state))?.to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Resets times, keys, status lists and license files in a state file, with a reason. Writes the new content.
///
/// # Safety
///
/// Strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_reset_state(
    state: *const c_char,
    because: *const c_char,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a string or NULL.
        let state = unsafe { text("state", state) }?;
        // SAFETY: the caller promises a string or NULL.
        let because = unsafe { text("because", because) }?;
        Ok(reset_state(Path::new(state), because)?.to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Writes the issuer's log in a state file as JSON. `state` is the path of the file.
///
/// # Safety
///
/// Strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_log_record(state: *const c_char, answer: *mut *mut c_char) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a string or NULL.
        let state = unsafe { text("state", state) }?;
        Ok(log_record(Path::new(state))?.to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Accepts the issuer's log in a state file after a contradiction, with a reason. Writes the new record.
///
/// # Safety
///
/// Strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_accept_log(
    state: *const c_char,
    because: *const c_char,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a string or NULL.
        let state = unsafe { text("state", state) }?;
        // SAFETY: the caller promises a string or NULL.
        let because = unsafe { text("because", because) }?;
        Ok(accept_log(Path::new(state), because)?.to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}
