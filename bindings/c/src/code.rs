//! Result codes.

use std::ffi::{CStr, c_char};

use dp_verifier_bindings::{Failure, Kind};

/// The result of a function. A number never changes its meaning, and later versions add numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpvCode {
    /// Success.
    Ok = 0,
    /// The request has no token.
    TokenMissing = 1,
    /// The text is not a compact JWS in canonical form, or its header is not acceptable.
    TokenMalformed = 2,
    /// The token, or its header, exceeds the size limit.
    TokenTooLarge = 3,
    /// The header's `alg` is not `RS256`.
    AlgNotAllowed = 4,
    /// The header names no key.
    KidMissing = 5,
    /// The key is not known.
    KidUnknown = 6,
    /// An imported license file has withdrawn the key.
    KeyWithdrawn = 7,
    /// The signature is not by the named key over this text.
    SignatureInvalid = 8,
    /// The header's `typ` is not `license+jwt`.
    TypWrong = 9,
    /// The issuer of the token is not the configured one.
    IssuerWrong = 10,
    /// The audience of the token is not the configured one.
    AudienceWrong = 11,
    /// The token has expired.
    Expired = 12,
    /// The token is not valid yet, or it was issued in the future.
    NotYetValid = 13,
    /// The signed claims are not those of a license.
    ClaimsInvalid = 14,
    /// This verifier does not support the major version of the contract of the claims.
    ContractUnsupported = 15,
    /// The license or its token was revoked.
    Revoked = 16,
    /// The license is suspended.
    Suspended = 17,
    /// The status of the token is out of date, and the license requires a current one.
    StatusStale = 18,
    /// The verifier has no usable keys.
    KeysUnavailable = 19,
    /// The clock is behind the time of a verified document, and the verifier requires a correct
    /// clock.
    ClockAnomaly = 20,
    /// The status list or license file is not newer than an imported one.
    Replayed = 21,
    /// The license file is for another license or deployment than the imported ones.
    OtherLicense = 22,
    /// The state file could not be written.
    StateUnwritable = 23,
    /// The verifier requires a proof that the token is in the issuer's log, and has none.
    ProofMissing = 24,
    /// The verifier requires that the token is in the issuer's log, and the log does not have it.
    NotLogged = 25,
    /// A proof or checkpoint is malformed, is not signed by the log key, or is for another token.
    ProofInvalid = 26,
    /// The issuer's log is shorter than before.
    LogRolledBack = 27,
    /// The issuer's log has two histories.
    SplitView = 28,
    /// The lease has ended: it was released, returned, taken over or reset, or its license is not in
    /// force.
    LeaseOver = 29,
    /// The lease has expired.
    LeaseExpired = 30,
    /// The lease belongs to another holder.
    HolderMismatch = 31,
    /// The license has no pool with the name that the lease has.
    PoolUnknown = 32,
    /// The lease belongs to another license or deployment.
    LicenseMismatch = 33,
    /// The settings cannot be used.
    SettingsInvalid = 100,
    /// An argument cannot be used.
    ArgumentInvalid = 101,
    /// A request for keys, lists or the log, or a check-in, has failed.
    FetchFailed = 102,
    /// The usage report cannot be created.
    ReportInvalid = 103,
    /// The control plane did not answer a request about a lease.
    Unreachable = 104,
    /// The control plane refused a request about a lease. The JSON has its code.
    LeaseRefused = 105,
    /// A fault of the library.
    InternalError = 199,
}

/// All codes and their names.
const NAMES: &[(DpvCode, &CStr)] = &[
    (DpvCode::Ok, c"ok"),
    (DpvCode::TokenMissing, c"token_missing"),
    (DpvCode::TokenMalformed, c"token_malformed"),
    (DpvCode::TokenTooLarge, c"token_too_large"),
    (DpvCode::AlgNotAllowed, c"alg_not_allowed"),
    (DpvCode::KidMissing, c"kid_missing"),
    (DpvCode::KidUnknown, c"kid_unknown"),
    (DpvCode::KeyWithdrawn, c"key_withdrawn"),
    (DpvCode::SignatureInvalid, c"signature_invalid"),
    (DpvCode::TypWrong, c"typ_wrong"),
    (DpvCode::IssuerWrong, c"issuer_wrong"),
    (DpvCode::AudienceWrong, c"audience_wrong"),
    (DpvCode::Expired, c"expired"),
    (DpvCode::NotYetValid, c"not_yet_valid"),
    (DpvCode::ClaimsInvalid, c"claims_invalid"),
    (DpvCode::ContractUnsupported, c"contract_unsupported"),
    (DpvCode::Revoked, c"revoked"),
    (DpvCode::Suspended, c"suspended"),
    (DpvCode::StatusStale, c"status_stale"),
    (DpvCode::KeysUnavailable, c"keys_unavailable"),
    (DpvCode::ClockAnomaly, c"clock_anomaly"),
    (DpvCode::Replayed, c"replayed"),
    (DpvCode::OtherLicense, c"other_license"),
    (DpvCode::StateUnwritable, c"state_unwritable"),
    (DpvCode::ProofMissing, c"proof_missing"),
    (DpvCode::NotLogged, c"not_logged"),
    (DpvCode::ProofInvalid, c"proof_invalid"),
    (DpvCode::LogRolledBack, c"log_rolled_back"),
    (DpvCode::SplitView, c"split_view"),
    (DpvCode::LeaseOver, c"lease_over"),
    (DpvCode::LeaseExpired, c"lease_expired"),
    (DpvCode::HolderMismatch, c"holder_mismatch"),
    (DpvCode::PoolUnknown, c"pool_unknown"),
    (DpvCode::LicenseMismatch, c"license_mismatch"),
    (DpvCode::SettingsInvalid, c"settings_invalid"),
    (DpvCode::ArgumentInvalid, c"argument_invalid"),
    (DpvCode::FetchFailed, c"fetch_failed"),
    (DpvCode::ReportInvalid, c"report_invalid"),
    (DpvCode::Unreachable, c"unreachable"),
    (DpvCode::LeaseRefused, c"lease_refused"),
    (DpvCode::InternalError, c"internal_error"),
];

impl DpvCode {
    /// Returns the code of a failure. A control plane chooses the codes of refused leases, so such a code
    /// must not become [`Ok`](Self::Ok) or a fault of this library.
    pub(crate) fn of(failure: &Failure) -> Self {
        let mut named = NAMES.iter().filter(|(_, name)| name.to_bytes() == failure.code.as_bytes());
        let named = named.next().map(|(code, _)| *code).filter(|code| *code != Self::Ok);
        match (named, failure.kind) {
            (Some(code), Kind::Lease) if code.is_of_a_token() || code == Self::Unreachable => code,
            (_, Kind::Lease) => Self::LeaseRefused,
            (Some(code), _) => code,
            (None, _) => Self::InternalError,
        }
    }

    /// Returns whether this is a code of the verifier for a token, document or lease.
    fn is_of_a_token(self) -> bool {
        (self as i32) < Self::SettingsInvalid as i32
    }
}

/// Returns the name of a code, such as "expired", or "unknown" for another number. The string is static.
#[unsafe(no_mangle)]
pub extern "C" fn dpv_code_name(code: i32) -> *const c_char {
    let named = NAMES.iter().find(|(known, _)| *known as i32 == code);
    named.map_or(c"unknown", |(_, name)| name).as_ptr()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use dp_verifier_bindings::dp_verifier::ErrorCode;
    use dp_verifier_bindings::{Failure, Kind};

    use super::{DpvCode, NAMES};

    #[test]
    fn refusal_of_a_control_plane_is_never_success() {
        for (code, expected) in [
            ("ok", DpvCode::LeaseRefused),
            ("internal_error", DpvCode::LeaseRefused),
            ("seats_exhausted", DpvCode::LeaseRefused),
            ("lease_over", DpvCode::LeaseOver),
            ("unreachable", DpvCode::Unreachable),
        ] {
            let failure = Failure::internal("a test");
            let failure = Failure { kind: Kind::Lease, code: code.to_owned(), ..failure };
            assert_eq!(DpvCode::of(&failure), expected, "{code}");
        }
        let unknown = Failure { code: "new".to_owned(), ..Failure::internal("a test") };
        assert_eq!(DpvCode::of(&unknown), DpvCode::InternalError);
    }

    #[test]
    fn every_code_of_the_verifier_has_a_number() {
        let names: Vec<&str> = NAMES.iter().map(|(_, name)| name.to_str().unwrap()).collect();
        for (n, code) in ErrorCode::ALL.iter().enumerate() {
            assert!(names.contains(&code.as_str()), "{code} needs the number {}", n + 1);
        }
        let numbers: HashSet<i32> = NAMES.iter().map(|(code, _)| *code as i32).collect();
        assert_eq!(numbers.len(), NAMES.len());
    }
}
