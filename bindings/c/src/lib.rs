//! The C interface of `dp-verifier`.
//!
//! Every function catches panics, and returns [`DpvCode::InternalError`] then. The header
//! `include/dpv.h` is generated from this crate.

mod code;
mod documents;
mod lease;
mod license;
mod memory;
mod state;
mod verifier;

pub use self::code::{DpvCode, dpv_code_name};
pub use self::documents::{
    dpv_import_file, dpv_import_status_list, dpv_replace_keys, dpv_usage_report,
};
pub use self::lease::{
    DpvLease, DpvLeases, dpv_lease_borrow, dpv_lease_free, dpv_lease_give_back, dpv_lease_json,
    dpv_lease_keep, dpv_lease_release, dpv_lease_state, dpv_lease_wait_until_lost,
    dpv_leases_acquire, dpv_leases_free, dpv_leases_heartbeat, dpv_leases_new,
    dpv_leases_of_license_key, dpv_leases_take_usage,
};
pub use self::license::{
    DpvLicense, DpvLimit, dpv_license_free, dpv_license_has_feature, dpv_license_json,
    dpv_license_limit, dpv_license_state,
};
pub use self::memory::dpv_string_free;
pub use self::state::{dpv_accept_log, dpv_log_record, dpv_reset_state, dpv_state_record};
pub use self::verifier::{
    DpvVerifier, dpv_abi_version, dpv_check_in, dpv_current, dpv_current_token, dpv_health,
    dpv_readiness, dpv_refresh, dpv_set_fixed_time, dpv_state_of, dpv_verifier_free,
    dpv_verifier_new, dpv_verify, dpv_verify_at, dpv_verify_lease, dpv_verify_lease_at,
    dpv_verify_with_proof, dpv_wait_for_status,
};
