//! Verified licenses.

use std::ffi::c_char;

use dp_verifier_bindings::dp_verifier::{LicenseContext, LicenseState, Limit};
use dp_verifier_bindings::{guarded, license_json};

use crate::memory::{free, give, handle, text};

/// A verified license.
pub struct DpvLicense {
    pub(crate) license: LicenseContext,
}

/// The kind of a limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpvLimit {
    /// The license does not include the metric.
    NotIncluded = 0,
    /// The license includes at most a number.
    AtMost = 1,
    /// The metric has no limit.
    Unlimited = 2,
}

/// Returns the license as a JSON object, as the command dp-verify prints it.
///
/// # Safety
///
/// `license` is a live handle or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_license_json(license: *const DpvLicense) -> *mut c_char {
    // SAFETY: the caller promises a live handle or NULL.
    let json = || unsafe { handle("license", license) }.map(|own| license_json(&own.license));
    guarded(json).map_or(std::ptr::null_mut(), |json| give(json.to_string()))
}

/// Returns the state when the license was verified, such as "valid". The string is static.
///
/// # Safety
///
/// `license` is a live handle or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_license_state(license: *const DpvLicense) -> *const c_char {
    // SAFETY: the caller promises a live handle or NULL.
    let state = || unsafe { handle("license", license) }.map(|own| own.license.state());
    guarded(state).map_or(std::ptr::null(), state_name)
}

/// Returns whether a feature is enabled: its value is true, not merely present.
///
/// # Safety
///
/// `license` is a live handle or NULL, and `name` a string or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_license_has_feature(
    license: *const DpvLicense,
    name: *const c_char,
) -> bool {
    let has = || {
        // SAFETY: the caller promises a live handle and a string, or NULL.
        let (own, name) = unsafe { (handle("license", license)?, text("name", name)?) };
        Ok(own.license.has_feature(name))
    };
    guarded(has).unwrap_or(false)
}

/// Returns the limit of a metric. Writes the number of DPV_LIMIT_AT_MOST, else 0.
///
/// # Safety
///
/// `license` is a live handle or NULL, `metric` a string or NULL, and `value` writable or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_license_limit(
    license: *const DpvLicense,
    metric: *const c_char,
    value: *mut u64,
) -> DpvLimit {
    let limit = || {
        // SAFETY: the caller promises a live handle and a string, or NULL.
        let (own, metric) = unsafe { (handle("license", license)?, text("metric", metric)?) };
        Ok(own.license.limit(metric))
    };
    let (kind, number) = match guarded(limit) {
        Ok(Limit::Unlimited) => (DpvLimit::Unlimited, 0),
        Ok(Limit::AtMost(number)) => (DpvLimit::AtMost, number),
        Ok(Limit::NotIncluded) | Err(_) => (DpvLimit::NotIncluded, 0),
    };
    if !value.is_null() {
        // SAFETY: the caller promises a writable place.
        unsafe { value.write(number) };
    }
    kind
}

/// Frees a license.
///
/// # Safety
///
/// `license` is NULL, or a live handle that no thread uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_license_free(license: *mut DpvLicense) {
    // SAFETY: the caller's promise is that of the function.
    unsafe { free(license) };
}

/// Returns the static name of a state.
pub(crate) fn state_name(state: LicenseState) -> *const c_char {
    let name = match state {
        LicenseState::Valid => c"valid",
        LicenseState::Expiring => c"expiring",
        LicenseState::Grace => c"grace",
        LicenseState::Stale => c"stale",
        LicenseState::LogAnomaly => c"log_anomaly",
        LicenseState::ClockAnomaly => c"clock_anomaly",
        LicenseState::Expired => c"expired",
        LicenseState::NotYetValid => c"not_yet_valid",
        LicenseState::Suspended => c"suspended",
        LicenseState::Revoked => c"revoked",
        // A later state: the test below fails until it has a name.
        _ => c"unknown",
    };
    name.as_ptr()
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use dp_verifier_bindings::dp_verifier::LicenseState;

    use super::state_name;

    #[test]
    fn every_state_has_its_name() {
        for state in LicenseState::ALL {
            // SAFETY: the name is a static string.
            let name = unsafe { CStr::from_ptr(state_name(*state)) };
            assert_eq!(name.to_str().unwrap(), state.as_str());
        }
    }
}
