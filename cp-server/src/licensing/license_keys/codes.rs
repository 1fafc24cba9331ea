//! The codes of validations, in their order: the first that holds is the answer's.

use cp_contracts::ValidationCode::{self, *};

use crate::licensing::coverage::Cause;

/// Each code with its explanation, in the order in which the reasons are checked.
pub(super) const ORDER: [(ValidationCode, &str); 19] = [
    (KeyUnknown, "The key is unknown. Check it for typing mistakes."),
    (KeyRevoked, "The key is revoked. Ask for a new one."),
    (KeyExpired, "The key has expired. Ask for a new one."),
    (OrganizationSuspended, "The organization is suspended."),
    (DeploymentInactive, "The deployment of the license is not active."),
    (SubscriptionInactive, "The subscription of the license is not active."),
    (LicenseRevoked, "The license is revoked. Revocation is permanent."),
    (LicenseSuspended, "The license is suspended."),
    (LicenseExpired, "The license has expired. Renew it."),
    (LicenseNotYetValid, "The term of the license has not begun."),
    (VersionNotCovered, "The license does not cover `version`: see its feature `max_version`."),
    (FeatureMissing, "The license lacks a feature of `features`."),
    (PoolUnknown, "The license has no pool `pool`, or the key does not open it."),
    (HolderRequired, "The pool requires a `holder`."),
    (NotActivated, "The holder has no seat. Send `activate: true` to claim one."),
    (LeaseOver, "The holder's lease has ended. Send `activate: true` to claim a seat again."),
    (SeatsExhausted, "No seat of the pool is free. Try again after `retry_after` seconds."),
    (ValidInGrace, "The license has ended, and its days of grace have not. Renew it."),
    (Valid, "The key may be used."),
];

/// Returns the first of the codes that hold, with its explanation. `valid` always holds.
pub(super) fn first(holding: &[ValidationCode]) -> (ValidationCode, &'static str) {
    let mut order = ORDER.iter().filter(|(code, _)| holding.contains(code) || *code == Valid);
    // The last entry is `valid`.
    order.next().cloned().unwrap_or((Valid, ""))
}

/// Returns whether the code lets the key be used.
pub(super) fn is_valid(code: &ValidationCode) -> bool {
    matches!(code, Valid | ValidInGrace)
}

/// Returns the code of a cause for which a license is not covered.
pub(super) fn of_cause(cause: Cause) -> ValidationCode {
    match cause {
        Cause::OrganizationSuspended => OrganizationSuspended,
        Cause::DeploymentInactive => DeploymentInactive,
        Cause::SubscriptionPaused
        | Cause::SubscriptionCanceled
        | Cause::SubscriptionExpired
        | Cause::SubscriptionNotBegun
        | Cause::SubscriptionEnded
        | Cause::TrialEnded => SubscriptionInactive,
        Cause::LicenseRevoked => LicenseRevoked,
        Cause::LicenseSuspended => LicenseSuspended,
        Cause::LicenseExpired => LicenseExpired,
        Cause::LicenseNotYetValid => LicenseNotYetValid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(code: &ValidationCode) -> usize {
        ORDER.iter().position(|(known, _)| known == code).unwrap()
    }

    #[test]
    fn each_pair_of_codes_answers_with_the_earlier_one() {
        for (n, (earlier, _)) in ORDER.iter().enumerate() {
            for (later, _) in &ORDER[n..] {
                for holding in [[earlier, later], [later, earlier]] {
                    let holding = holding.map(ValidationCode::clone);
                    assert_eq!(first(&holding).0, *earlier, "{holding:?}");
                }
            }
        }
        assert_eq!(first(&[]).0, Valid);
        assert_eq!(ORDER.iter().filter(|(code, _)| is_valid(code)).count(), 2);
    }

    /// Coverage names its first cause only, so its order must be the order of the codes.
    #[test]
    fn causes_of_coverage_have_the_order_of_the_codes() {
        let places: Vec<usize> = Cause::ALL.iter().map(|cause| place(&of_cause(*cause))).collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}
