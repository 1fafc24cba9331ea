//! The verifier.

use std::ffi::c_char;

use dp_verifier_bindings::{Verifier, guarded, lease_json};

use crate::license::state_name;
use crate::memory::{answered, free, give, handed, handle, json, sent, text};
use crate::{DpvCode, DpvLicense};

/// The version of the ABI. Another number is incompatible.
const ABI: u32 = 1;

/// A verifier of license tokens of one issuer for one audience.
pub struct DpvVerifier {
    pub(crate) verifier: Verifier,
}

/// Returns the version of the ABI, which is 1.
#[unsafe(no_mangle)]
pub extern "C" fn dpv_abi_version() -> u32 {
    ABI
}

/// Creates a verifier from a JSON object with settings. Writes the handle, or the error as JSON.
///
/// Waits for the first response when the settings name a key set URL.
///
/// # Safety
///
/// `settings` is a string or NULL, and the out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_verifier_new(
    settings: *const c_char,
    verifier: *mut *mut DpvVerifier,
    error: *mut *mut c_char,
) -> DpvCode {
    let new = || {
        // SAFETY: the caller promises a string or NULL.
        let settings = unsafe { text("settings", settings) }?;
        Ok(DpvVerifier { verifier: Verifier::from_json(settings)? })
    };
    // SAFETY: the caller promises writable places or NULL.
    unsafe { handed(verifier, error, new) }
}

/// Frees a verifier, and ends its threads.
///
/// # Safety
///
/// `verifier` is NULL, or a live handle that no thread uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_verifier_free(verifier: *mut DpvVerifier) {
    // SAFETY: the caller's promise is that of the function.
    unsafe { free(verifier) };
}

/// Checks a token now. Does no I/O. Writes the license, or the error as JSON.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_verify(
    verifier: *const DpvVerifier,
    token: *const c_char,
    license: *mut *mut DpvLicense,
    error: *mut *mut c_char,
) -> DpvCode {
    let verify = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        // SAFETY: the caller promises a string or NULL.
        let token = unsafe { sent("token", token) }?;
        Ok(DpvLicense { license: own.verifier.verify(&token)? })
    };
    // SAFETY: the caller promises writable places or NULL.
    unsafe { handed(license, error, verify) }
}

/// Checks a token at a time, in seconds since 1970.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_verify_at(
    verifier: *const DpvVerifier,
    token: *const c_char,
    now: i64,
    license: *mut *mut DpvLicense,
    error: *mut *mut c_char,
) -> DpvCode {
    let verify = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        // SAFETY: the caller promises a string or NULL.
        let token = unsafe { sent("token", token) }?;
        Ok(DpvLicense { license: own.verifier.verify_at(&token, now)? })
    };
    // SAFETY: the caller promises writable places or NULL.
    unsafe { handed(license, error, verify) }
}

/// Checks a token with a proof that it is in the issuer's log.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_verify_with_proof(
    verifier: *const DpvVerifier,
    token: *const c_char,
    proof: *const c_char,
    license: *mut *mut DpvLicense,
    error: *mut *mut c_char,
) -> DpvCode {
    let verify = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        // SAFETY: the caller promises a string or NULL.
        let token = unsafe { sent("token", token) }?;
        // SAFETY: the caller promises a string or NULL.
        let proof = unsafe { sent("proof", proof) }?;
        Ok(DpvLicense { license: own.verifier.verify_with_proof(&token, &proof)? })
    };
    // SAFETY: the caller promises writable places or NULL.
    unsafe { handed(license, error, verify) }
}

/// Returns the license of the data plane's own token: that of a check-in or a license file.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_current(
    verifier: *const DpvVerifier,
    license: *mut *mut DpvLicense,
    error: *mut *mut c_char,
) -> DpvCode {
    let verify = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        Ok(DpvLicense { license: own.verifier.current()? })
    };
    // SAFETY: the caller promises writable places or NULL.
    unsafe { handed(license, error, verify) }
}

/// Checks a lease token beside its license. `holder` is a JSON object. Writes the lease or the error as JSON.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_verify_lease(
    verifier: *const DpvVerifier,
    lease: *const c_char,
    license: *const DpvLicense,
    holder: *const c_char,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let lease = unsafe { sent("lease", lease) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let license = unsafe { handle("license", license) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let holder = unsafe { json("holder", holder) }?;
        let lease = own.verifier.verify_lease(&lease, &license.license, &holder)?;
        Ok(lease_json(&lease).to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Checks a lease token beside its license at a time, in seconds since 1970.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_verify_lease_at(
    verifier: *const DpvVerifier,
    lease: *const c_char,
    license: *const DpvLicense,
    holder: *const c_char,
    now: i64,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let lease = unsafe { sent("lease", lease) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let license = unsafe { handle("license", license) }?;
        // SAFETY: the caller promises a live handle, a string or NULL.
        let holder = unsafe { json("holder", holder) }?;
        let lease = own.verifier.verify_lease_at(&lease, &license.license, &holder, now)?;
        Ok(lease_json(&lease).to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Fetches keys, status lists and the log now, and waits for the outcome.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_refresh(
    verifier: *const DpvVerifier,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        own.verifier.refresh()?;
        Ok("{}".to_owned())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Checks in now, and waits for the outcome.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_check_in(
    verifier: *const DpvVerifier,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        own.verifier.check_in()?;
        Ok("{}".to_owned())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Writes as JSON whether the verifier can judge tokens, with reasons, ages and `http_status`. It has codes
/// and numbers only, so a health check may show it.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_readiness(
    verifier: *const DpvVerifier,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        Ok(own.verifier.readiness().to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Writes the details of the verifier's health as JSON, for operators and metrics.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_health(
    verifier: *const DpvVerifier,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        Ok(own.verifier.health().to_string())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Sets the clock of a verifier with the setting `fixed_time`, for tests.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_set_fixed_time(
    verifier: *const DpvVerifier,
    now: i64,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("verifier", verifier) }?;
        own.verifier.set_fixed_time(now)?;
        Ok("{}".to_owned())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Returns the current state of a license that was admitted earlier, such as "revoked". The string is
/// static; NULL for a NULL handle.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_state_of(
    verifier: *const DpvVerifier,
    license: *const DpvLicense,
) -> *const c_char {
    let state = || {
        // SAFETY: the caller promises live handles or NULL.
        let (own, license) =
            unsafe { (handle("verifier", verifier)?, handle("license", license)?) };
        Ok(own.verifier.state_of(&license.license))
    };
    guarded(state).map_or(std::ptr::null(), state_name)
}

/// Returns the data plane's own token, a credential, or NULL without one.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_current_token(verifier: *const DpvVerifier) -> *mut c_char {
    // SAFETY: the caller promises a live handle or NULL.
    let token = || Ok(unsafe { handle("verifier", verifier) }?.verifier.current_token());
    guarded(token).ok().flatten().map_or(std::ptr::null_mut(), give)
}

/// Waits for the first request for a token's status list, at most some seconds.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_wait_for_status(
    verifier: *const DpvVerifier,
    token: *const c_char,
) -> DpvCode {
    let wait = || {
        // SAFETY: the caller promises a live handle and a string, or NULL.
        let (own, token) = unsafe { (handle("verifier", verifier)?, sent("token", token)?) };
        own.verifier.wait_for_status(&token);
        Ok(String::new())
    };
    // SAFETY: no answer is wanted.
    unsafe { answered(std::ptr::null_mut(), wait) }
}
