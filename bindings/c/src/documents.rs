//! Documents: license files, status lists, key sets, usage reports.

use std::ffi::c_char;

use crate::memory::{answered, handle, json, sent, text};
use crate::{DpvCode, DpvVerifier};

/// Imports a license file. Writes its contents or the error as JSON.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_import_file(
    verifier: *const DpvVerifier,
    document: *const c_char,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let document = unsafe { sent("document", document) }?;
        Ok(own.verifier.import_file(&document)?.to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Imports a status list token. Writes its URL and times, or the error, as JSON.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_import_status_list(
    verifier: *const DpvVerifier,
    document: *const c_char,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let document = unsafe { sent("document", document) }?;
        Ok(own.verifier.import_status_list(&document)?.to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Replaces the configured keys by those of a key set.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_replace_keys(
    verifier: *const DpvVerifier,
    jwks: *const c_char,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let jwks = unsafe { text("jwks", jwks) }?;
        own.verifier.replace_keys(jwks)?;
        Ok("{}".to_owned())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Writes the next usage report, a complete file. `counters` and `leases` are JSON objects or NULL.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_usage_report(
    verifier: *const DpvVerifier,
    counters: *const c_char,
    leases: *const c_char,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let counters = unsafe { json("counters", counters) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let leases = unsafe { json("leases", leases) }?;
        own.verifier.usage_report(&counters, &leases)
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}
