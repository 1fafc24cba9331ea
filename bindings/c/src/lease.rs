//! Seats.

use std::ffi::c_char;
use std::time::Duration;

use dp_verifier_bindings::{HeldLease, Leases, guarded};

use crate::memory::{answered, free, give, handed, handle, json, text};
use crate::{DpvCode, DpvLicense, DpvVerifier};

/// A client that claims seats, and keeps them by heartbeats.
pub struct DpvLeases {
    leases: Leases,
}

/// A held seat. Freeing it releases the seat, unless it is kept or borrowed.
pub struct DpvLease {
    lease: HeldLease,
}

/// Creates a client that holds seats, with the deployment's token or a license key.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_leases_new(
    verifier: *const DpvVerifier,
    credential: *const c_char,
    leases: *mut *mut DpvLeases,
    error: *mut *mut c_char,
) -> DpvCode {
    let new = || {
        // SAFETY: the caller promises a live handle and a string, or NULL.
        let (own, credential) =
            unsafe { (handle("verifier", verifier)?, text("credential", credential)?) };
        Ok(DpvLeases { leases: own.verifier.leases(credential) })
    };
    // SAFETY: the caller promises writable places or NULL.
    unsafe { handed(leases, error, new) }
}

/// Creates a client that holds seats with a license key, also with one from another system.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_leases_of_license_key(
    verifier: *const DpvVerifier,
    license_key: *const c_char,
    leases: *mut *mut DpvLeases,
    error: *mut *mut c_char,
) -> DpvCode {
    let new = || {
        // SAFETY: the caller promises a live handle and a string, or NULL.
        let (own, license_key) =
            unsafe { (handle("verifier", verifier)?, text("license_key", license_key)?) };
        Ok(DpvLeases { leases: own.verifier.leases_of_license_key(license_key) })
    };
    // SAFETY: the caller promises writable places or NULL.
    unsafe { handed(leases, error, new) }
}

/// Frees a client of seats.
///
/// # Safety
///
/// `leases` is NULL, or a live handle that no thread uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_leases_free(leases: *mut DpvLeases) {
    // SAFETY: the caller's promise is that of the function.
    unsafe { free(leases) };
}

/// Claims a seat of a pool, and waits for the response, up to 5 seconds. `holder` is a JSON object.
///
/// `options` is a JSON object with `label`, `meta`, `ttl`, `borrow`, `take_over` and `token`, or NULL.
/// `license` is NULL for the license of the verifier's own token.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_leases_acquire(
    leases: *const DpvLeases,
    pool: *const c_char,
    holder: *const c_char,
    options: *const c_char,
    license: *const DpvLicense,
    lease: *mut *mut DpvLease,
    error: *mut *mut c_char,
) -> DpvCode {
    let acquire = || {
        // SAFETY: the caller promises a live handle and strings, or NULL.
        let (own, pool) = unsafe { (handle("leases", leases)?, text("pool", pool)?) };
        // SAFETY: as above.
        let (holder, options) = unsafe { (json("holder", holder)?, json("options", options)?) };
        // SAFETY: as above.
        let license = unsafe { license.as_ref() }.map(|own| &own.license);
        Ok(DpvLease { lease: own.leases.acquire(pool, &holder, &options, license)? })
    };
    // SAFETY: the caller promises writable places or NULL.
    unsafe { handed(lease, error, acquire) }
}

/// Sends the heartbeats that are due now, and waits for the outcome.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_leases_heartbeat(leases: *const DpvLeases) -> DpvCode {
    let send = || {
        // SAFETY: the caller promises a live handle or NULL.
        unsafe { handle("leases", leases) }?.leases.send_heartbeats();
        Ok(String::new())
    };
    // SAFETY: no answer is wanted.
    unsafe { answered(std::ptr::null_mut(), send) }
}

/// Returns the use of each pool since the last call as JSON, for dpv_usage_report.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_leases_take_usage(leases: *const DpvLeases) -> *mut c_char {
    // SAFETY: the caller promises a live handle or NULL.
    let usage = || Ok(unsafe { handle("leases", leases) }?.leases.take_usage().to_string());
    guarded(usage).map_or(std::ptr::null_mut(), give)
}

/// Returns the state of a lease as JSON: `id`, `state`, `code`, `refusal`, `expires_at`, `token` and `lease`.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_lease_json(lease: *const DpvLease) -> *mut c_char {
    // SAFETY: the caller promises a live handle or NULL.
    let json = || Ok(unsafe { handle("lease", lease) }?.lease.to_json().to_string());
    guarded(json).map_or(std::ptr::null_mut(), give)
}

/// Returns "held", "late", "borrowed", "lost" or "released". The string is static.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_lease_state(lease: *const DpvLease) -> *const c_char {
    // SAFETY: the caller promises a live handle or NULL.
    let state = || Ok(unsafe { handle("lease", lease) }?.lease.state());
    let name = match guarded(state) {
        Ok("held") => c"held",
        Ok("late") => c"late",
        Ok("borrowed") => c"borrowed",
        Ok("released") => c"released",
        _ => c"lost",
    };
    name.as_ptr()
}

/// Waits until the lease is lost, at most for some milliseconds. Returns whether the holder has no seat any
/// more, or the app has released or kept it; true for NULL.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_lease_wait_until_lost(
    lease: *const DpvLease,
    milliseconds: u64,
) -> bool {
    let wait = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("lease", lease) }?;
        Ok(own.lease.wait_until_lost(Duration::from_millis(milliseconds)))
    };
    guarded(wait).unwrap_or(true)
}

/// Borrows the seat. Writes the lease token, or the error as JSON.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_lease_borrow(
    lease: *const DpvLease,
    seconds: u64,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("lease", lease) }?;
        own.lease.borrow(seconds)
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Returns a borrowed seat before its end.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_lease_give_back(
    lease: *const DpvLease,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("lease", lease) }?;
        own.lease.give_back()?;
        Ok("{}".to_owned())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Releases the seat now, and waits for the response.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_lease_release(
    lease: *const DpvLease,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("lease", lease) }?;
        own.lease.release()?;
        Ok("{}".to_owned())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Keeps the seat after the handle is freed.
///
/// # Safety
///
/// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_lease_keep(
    lease: *const DpvLease,
    answer: *mut *mut c_char,
) -> DpvCode {
    let run = || {
        // SAFETY: the caller promises a live handle or NULL.
        let own = unsafe { handle("lease", lease) }?;
        own.lease.keep();
        Ok("{}".to_owned())
    };
    // SAFETY: the caller promises a writable place or NULL.
    unsafe { answered(answer, run) }
}

/// Frees a lease, which releases the seat unless it is kept or borrowed.
///
/// # Safety
///
/// `lease` is NULL, or a live handle that no thread uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_lease_free(lease: *mut DpvLease) {
    // SAFETY: the caller's promise is that of the function.
    unsafe { free(lease) };
}
