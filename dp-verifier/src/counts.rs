//! Counts for the metrics of the app. Without the feature `metrics`, they cost nothing.

#[cfg(feature = "fetch")]
use cp_contracts::CheckInCode;

use crate::{LicenseContext, VerifyError};

/// The verified tokens.
#[cfg(feature = "metrics")]
pub(crate) const VERIFICATIONS: &str = "dp_verifier_verifications_total";
/// The check-ins.
#[cfg(feature = "metrics")]
pub(crate) const CHECK_INS: &str = "dp_verifier_check_ins_total";
/// The held leases.
#[cfg(feature = "metrics")]
pub(crate) const LEASES: &str = "dp_verifier_leases_held";

/// Counts the outcome of a check, and returns it.
pub(crate) fn verified(
    outcome: Result<LicenseContext, VerifyError>,
) -> Result<LicenseContext, VerifyError> {
    #[cfg(feature = "metrics")]
    {
        let (name, code) = match &outcome {
            Ok(license) => ("admitted", license.state().as_str()),
            Err(refused) => ("refused", refused.code().as_str()),
        };
        metrics::counter!(VERIFICATIONS, "outcome" => name, "code" => code).increment(1);
    }
    outcome
}

/// Counts a check-in: the server's judgement, or the failure.
#[cfg(feature = "fetch")]
pub(crate) fn checked_in(outcome: Result<&CheckInCode, &'static str>) {
    #[cfg(feature = "metrics")]
    {
        let outcome = match outcome {
            // A later server must not create labels.
            Ok(CheckInCode::Other(_)) => "other".to_owned(),
            Ok(code) => code.as_str().to_owned(),
            Err(failure) => failure.to_owned(),
        };
        metrics::counter!(CHECK_INS, "outcome" => outcome).increment(1);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = outcome;
}

/// Changes the number of held leases of a pool.
#[cfg(feature = "fetch")]
pub(crate) fn held(pool: &str, change: i64) {
    #[cfg(feature = "metrics")]
    {
        let change = i32::try_from(change).map_or(0.0, f64::from);
        metrics::gauge!(LEASES, "pool" => pool.to_owned()).increment(change);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = (pool, change);
}
