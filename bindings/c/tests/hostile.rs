//! Calls as a faulty application makes them: NULL for every pointer, wrong UTF-8, and huge input.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};

use dpv::{
    DpvCode, DpvLease, DpvLeases, DpvLicense, DpvLimit, DpvVerifier, dpv_accept_log, dpv_check_in,
    dpv_code_name, dpv_current, dpv_current_token, dpv_health, dpv_import_file,
    dpv_import_status_list, dpv_lease_borrow, dpv_lease_free, dpv_lease_give_back, dpv_lease_json,
    dpv_lease_keep, dpv_lease_release, dpv_lease_state, dpv_lease_wait_until_lost,
    dpv_leases_acquire, dpv_leases_free, dpv_leases_heartbeat, dpv_leases_new,
    dpv_leases_of_license_key, dpv_leases_take_usage, dpv_license_free, dpv_license_has_feature,
    dpv_license_json, dpv_license_limit, dpv_license_state, dpv_log_record, dpv_readiness,
    dpv_refresh, dpv_replace_keys, dpv_reset_state, dpv_set_fixed_time, dpv_state_of,
    dpv_state_record, dpv_string_free, dpv_usage_report, dpv_verifier_free, dpv_verifier_new,
    dpv_verify, dpv_verify_at, dpv_verify_lease, dpv_verify_lease_at, dpv_verify_with_proof,
    dpv_wait_for_status,
};

const SETTINGS: &CStr =
    c"{\"issuer\":\"https://cp.example\",\"audience\":\"x\",\"jwks\":{\"keys\":[]}}";

/// Calls a function with a place for its answer. Returns the code of the result and of the JSON.
fn called(call: impl FnOnce(*mut *mut c_char) -> DpvCode) -> (DpvCode, String) {
    let mut answer: *mut c_char = null_mut();
    let code = call(&raw mut answer);
    assert!(!answer.is_null(), "{code:?}");
    // SAFETY: the library wrote a string, which is freed once.
    let text = unsafe { CStr::from_ptr(answer) }.to_str().unwrap().to_owned();
    // SAFETY: as above.
    unsafe { dpv_string_free(answer) };
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    (code, json["code"].as_str().unwrap_or_default().to_owned())
}

fn verifier() -> *mut DpvVerifier {
    let mut verifier = null_mut();
    // SAFETY: the string ends with NUL, and the place is writable.
    let code = unsafe { dpv_verifier_new(SETTINGS.as_ptr(), &raw mut verifier, null_mut()) };
    assert_eq!(code, DpvCode::Ok);
    verifier
}

#[test]
fn null_is_an_invalid_argument_everywhere() {
    let no: *const DpvVerifier = null();
    let (text, license): (*const c_char, *const DpvLicense) = (null(), null());
    let (leases, lease): (*const DpvLeases, *const DpvLease) = (null(), null());
    let own = verifier();
    // SAFETY: handles and strings are live or NULL, and places are writable or NULL.
    unsafe {
        let answers = [
            called(|e| dpv_verifier_new(text, null_mut(), e)),
            called(|e| dpv_verify(no, text, null_mut(), e)),
            called(|e| dpv_verify(own, text, null_mut(), e)),
            called(|e| dpv_verify_at(no, text, 0, null_mut(), e)),
            called(|e| dpv_verify_with_proof(own, c"x".as_ptr(), text, null_mut(), e)),
            called(|e| dpv_current(no, null_mut(), e)),
            called(|e| dpv_verify_lease(own, c"x".as_ptr(), license, text, e)),
            called(|e| dpv_verify_lease_at(own, c"x".as_ptr(), license, text, 0, e)),
            called(|e| dpv_refresh(no, e)),
            called(|e| dpv_check_in(no, e)),
            called(|e| dpv_health(no, e)),
            called(|e| dpv_readiness(no, e)),
            called(|e| dpv_set_fixed_time(no, 0, e)),
            called(|e| dpv_import_file(own, text, e)),
            called(|e| dpv_import_status_list(own, text, e)),
            called(|e| dpv_replace_keys(own, text, e)),
            called(|e| dpv_usage_report(no, text, text, e)),
            called(|e| dpv_leases_new(own, text, null_mut(), e)),
            called(|e| dpv_leases_of_license_key(own, text, null_mut(), e)),
            called(|e| dpv_leases_acquire(leases, text, text, text, license, null_mut(), e)),
            called(|e| dpv_lease_borrow(lease, 1, e)),
            called(|e| dpv_lease_give_back(lease, e)),
            called(|e| dpv_lease_release(lease, e)),
            called(|e| dpv_lease_keep(lease, e)),
            called(|e| dpv_state_record(text, e)),
            called(|e| dpv_reset_state(text, text, e)),
            called(|e| dpv_log_record(text, e)),
            called(|e| dpv_accept_log(text, text, e)),
        ];
        for (n, answer) in answers.into_iter().enumerate() {
            let expected = (DpvCode::ArgumentInvalid, "argument_invalid".to_owned());
            assert_eq!(answer, expected, "call {n}");
        }
        assert_eq!(dpv_wait_for_status(no, text), DpvCode::ArgumentInvalid);
        assert_eq!(dpv_leases_heartbeat(leases), DpvCode::ArgumentInvalid);
        assert!(dpv_state_of(no, license).is_null() && dpv_license_state(license).is_null());
        assert!(dpv_license_json(license).is_null() && dpv_current_token(no).is_null());
        assert!(dpv_leases_take_usage(leases).is_null() && dpv_lease_json(lease).is_null());
        assert!(!dpv_license_has_feature(license, text) && dpv_lease_wait_until_lost(lease, 0));
        assert_eq!(dpv_license_limit(license, text, null_mut()), DpvLimit::NotIncluded);
        assert_eq!(CStr::from_ptr(dpv_lease_state(lease)), c"lost");
        assert_eq!(CStr::from_ptr(dpv_code_name(-1)), c"unknown");
        dpv_license_free(null_mut());
        dpv_leases_free(null_mut());
        dpv_lease_free(null_mut());
        dpv_verifier_free(null_mut());
        dpv_verifier_free(own);
    }
}

#[test]
fn handles_may_be_shared_by_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<DpvVerifier>();
    is_shared::<DpvLicense>();
    is_shared::<DpvLeases>();
    is_shared::<DpvLease>();
}

#[test]
fn failure_without_a_place_for_the_error_returns_its_code() {
    // SAFETY: NULL is allowed for every argument.
    let code = unsafe { dpv_verifier_new(c"{".as_ptr(), null_mut(), null_mut()) };
    assert_eq!(code, DpvCode::SettingsInvalid);
    // SAFETY: the result is not wanted, so the library frees the verifier.
    let code = unsafe { dpv_verifier_new(SETTINGS.as_ptr(), null_mut(), null_mut()) };
    assert_eq!(code, DpvCode::Ok);
}

#[test]
fn wrong_utf8_is_a_malformed_token_and_an_invalid_argument() {
    let own = verifier();
    let wrong = c"a\xffb".as_ptr();
    // SAFETY: handles are live, strings end with NUL, and places are writable or NULL.
    unsafe {
        // Others send tokens and documents. The application writes everything else.
        for answer in [
            called(|e| dpv_verify(own, wrong, null_mut(), e)),
            called(|e| dpv_import_file(own, wrong, e)),
            called(|e| dpv_import_status_list(own, wrong, e)),
        ] {
            assert_eq!(answer, (DpvCode::TokenMalformed, "token_malformed".to_owned()));
        }
        for answer in [
            called(|e| dpv_verifier_new(wrong, null_mut(), e)),
            called(|e| dpv_replace_keys(own, wrong, e)),
            called(|e| dpv_usage_report(own, wrong, null(), e)),
            called(|e| dpv_leases_new(own, wrong, null_mut(), e)),
        ] {
            assert_eq!(answer, (DpvCode::ArgumentInvalid, "argument_invalid".to_owned()));
        }
        assert_eq!(dpv_wait_for_status(own, wrong), DpvCode::Ok);
        dpv_verifier_free(own);
    }
}

#[test]
fn huge_input_is_refused() {
    let own = verifier();
    let token = CString::new(vec![b'a'; 64 << 20]).unwrap();
    let deep = CString::new("[".repeat(1 << 20)).unwrap();
    // SAFETY: handles are live, strings end with NUL, and places are writable or NULL.
    unsafe {
        let answer = called(|e| dpv_verify(own, token.as_ptr(), null_mut(), e));
        assert_eq!(answer.0, DpvCode::TokenTooLarge);
        let answer = called(|e| dpv_import_file(own, token.as_ptr(), e));
        assert_eq!(answer.0, DpvCode::TokenTooLarge);
        let answer = called(|e| dpv_verifier_new(deep.as_ptr(), null_mut(), e));
        assert_eq!(answer.0, DpvCode::SettingsInvalid);
        let answer = called(|e| dpv_usage_report(own, deep.as_ptr(), null(), e));
        assert_eq!(answer.0, DpvCode::ArgumentInvalid);
        dpv_verifier_free(own);
    }
}
