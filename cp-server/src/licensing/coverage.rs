//! Coverage: whether a license is covered, why not, and until when.
//!
//! # Design
//! One pure function of the organization, the deployment, the subscription and the license decides.
//! Issuance, the end of a token, status lists and every `status` in an answer use it. The function
//! lists the causes that end coverage, each with the time in which it applies. Every answer is
//! derived from that list. So an issued token is suspended exactly when a new one would be refused.

pub mod marks;

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::statuses::{DeploymentStatus, LicenseStatus, SubscriptionStatus};
use crate::kernel::http::json::Moment;
use crate::tenancy::organizations::OrganizationStatus;

crate::text_enum! {
    /// The cause for which a license is not covered.
    Cause {
        OrganizationSuspended = "organization_suspended",
        DeploymentInactive = "deployment_inactive",
        SubscriptionPaused = "subscription_paused",
        SubscriptionCanceled = "subscription_canceled",
        SubscriptionExpired = "subscription_expired",
        SubscriptionNotBegun = "subscription_not_begun",
        SubscriptionEnded = "subscription_ended",
        TrialEnded = "trial_ended",
        LicenseRevoked = "license_revoked",
        LicenseSuspended = "license_suspended",
        LicenseExpired = "license_expired",
        LicenseNotYetValid = "license_not_yet_valid",
    }
}

/// Whether a license is covered at an instant.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Coverage {
    pub covered: bool,
    /// The first cause, when the license is not covered.
    pub reason: Option<Cause>,
    /// The earliest end of license, subscription and trial, with the license's days of grace; null
    /// when none of them ends.
    pub until: Option<DateTime<Utc>>,
}

/// The columns of [`Terms`], of organization `o`, deployment `d`, subscription `s` and license `l`.
macro_rules! terms {
    () => {
        "o.status AS organization_status, d.status AS deployment_status,
         s.status AS subscription_status, s.starts_at AS subscription_starts_at,
         s.ends_at AS subscription_ends_at, s.trial_ends_at AS subscription_trial_ends_at,
         l.status AS license_status, l.valid_from, l.valid_until, l.grace_days"
    };
}
pub(super) use terms;

/// The facts that determine coverage.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Terms {
    pub organization_status: OrganizationStatus,
    pub deployment_status: DeploymentStatus,
    pub subscription_status: SubscriptionStatus,
    pub subscription_starts_at: DateTime<Utc>,
    pub subscription_ends_at: Option<DateTime<Utc>>,
    pub subscription_trial_ends_at: Option<DateTime<Utc>>,
    pub license_status: LicenseStatus,
    pub valid_from: DateTime<Utc>,
    pub valid_until: Option<DateTime<Utc>>,
    pub grace_days: i64,
}

/// The facts of a subscription that determine coverage.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionTerms {
    pub status: SubscriptionStatus,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    pub trial_ends_at: Option<DateTime<Utc>>,
}

impl SubscriptionTerms {
    /// Returns whether the subscription alone, without days of grace, entitles at this instant.
    pub fn entitles_at(&self, now: DateTime<Utc>) -> bool {
        !self.causes(0).any(|(_, when)| when.applies_at(now))
    }

    /// Returns the causes of the subscription that end coverage, in the order of refusals.
    fn causes(&self, grace_days: i64) -> impl Iterator<Item = (Cause, When)> + use<> {
        let stopped = match self.status {
            SubscriptionStatus::Paused => Some(Cause::SubscriptionPaused),
            SubscriptionStatus::Canceled => Some(Cause::SubscriptionCanceled),
            SubscriptionStatus::Expired => Some(Cause::SubscriptionExpired),
            // A license stays covered when a payment is late.
            SubscriptionStatus::Trialing
            | SubscriptionStatus::Active
            | SubscriptionStatus::PastDue => None,
        };
        let trial_ends_at =
            self.trial_ends_at.filter(|_| self.status == SubscriptionStatus::Trialing);
        let end = |cause, end: Option<DateTime<Utc>>| {
            Some((cause, When::From(with_grace(end?, grace_days))))
        };
        [
            stopped.map(|cause| (cause, When::Always)),
            Some((Cause::SubscriptionNotBegun, When::Before(self.starts_at))),
            end(Cause::SubscriptionEnded, self.ends_at),
            end(Cause::TrialEnded, trial_ends_at),
        ]
        .into_iter()
        .flatten()
    }
}

/// The time in which a cause applies.
#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    Before(DateTime<Utc>),
    From(DateTime<Utc>),
}

impl When {
    fn applies_at(self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Always => true,
            Self::Before(begin) => now < begin,
            Self::From(end) => end <= now,
        }
    }
}

/// The marks of a license's tokens: a token is suspended before `from`, and again from `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marks {
    pub from: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

impl Terms {
    /// Returns the end of the coverage at `now`, `None` without an end; or the cause for which the
    /// license is not covered.
    pub fn covered_at(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Cause> {
        match self.causes().into_iter().find(|(_, when)| when.applies_at(now)) {
            Some((cause, _)) => Err(cause),
            None => Ok(self.until()),
        }
    }

    /// Returns all causes for which the license is not covered, in the order of refusals.
    pub fn causes_at(&self, now: DateTime<Utc>) -> Vec<Cause> {
        let applying = self.causes().into_iter().filter(|(_, when)| when.applies_at(now));
        applying.map(|(cause, _)| cause).collect()
    }

    pub fn coverage_at(&self, now: DateTime<Utc>) -> Coverage {
        let reason = self.covered_at(now).err();
        Coverage { covered: reason.is_none(), reason, until: self.until() }
    }

    /// Returns the earliest end of license, subscription and trial, with the days of grace.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        let ends = self.causes().into_iter().filter_map(|(_, when)| match when {
            When::From(end) => Some(end),
            When::Always | When::Before(_) => None,
        });
        ends.min()
    }

    pub fn marks(&self) -> Marks {
        let causes = self.causes();
        let begins = causes.iter().filter_map(|(_, when)| match when {
            When::Before(begin) => Some(*begin),
            When::Always | When::From(_) => None,
        });
        let is_blocked = causes.iter().any(|(_, when)| matches!(when, When::Always));
        // An instant in the past of every clock, also of a clock that was set back.
        let blocked = is_blocked.then_some(DateTime::UNIX_EPOCH);
        Marks { from: begins.max(), until: blocked.or_else(|| self.until()) }
    }

    /// Returns the causes that end coverage and their times, in the order of refusals.
    fn causes(&self) -> Vec<(Cause, When)> {
        let subscription = SubscriptionTerms {
            status: self.subscription_status,
            starts_at: self.subscription_starts_at,
            ends_at: self.subscription_ends_at,
            trial_ends_at: self.subscription_trial_ends_at,
        };
        let always = |cause, is_so: bool| is_so.then_some((cause, When::Always));
        let end = |cause, end: Option<DateTime<Utc>>| {
            Some((cause, When::From(with_grace(end?, self.grace_days))))
        };
        let outside = [
            always(
                Cause::OrganizationSuspended,
                self.organization_status == OrganizationStatus::Suspended,
            ),
            always(Cause::DeploymentInactive, self.deployment_status != DeploymentStatus::Active),
        ];
        let own = [
            always(Cause::LicenseRevoked, self.license_status == LicenseStatus::Revoked),
            always(Cause::LicenseSuspended, self.license_status == LicenseStatus::Suspended),
            end(Cause::LicenseExpired, self.valid_until),
            Some((Cause::LicenseNotYetValid, When::Before(self.valid_from))),
        ];
        let outside = outside.into_iter().flatten().chain(subscription.causes(self.grace_days));
        outside.chain(own.into_iter().flatten()).collect()
    }
}

impl Cause {
    /// Returns the refusal of an issuance.
    pub fn problem(self) -> (ProblemCode, &'static str) {
        match self {
            Self::OrganizationSuspended => (
                ProblemCode::OrganizationSuspended,
                "The organization is suspended. Activate it to issue or renew licenses.",
            ),
            Self::DeploymentInactive => {
                (ProblemCode::DeploymentInactive, "The deployment is not active.")
            }
            Self::SubscriptionPaused => {
                (ProblemCode::SubscriptionInactive, "The subscription is paused. Resume it first.")
            }
            Self::SubscriptionCanceled => {
                (ProblemCode::SubscriptionInactive, "The subscription is canceled.")
            }
            Self::SubscriptionExpired => {
                (ProblemCode::SubscriptionInactive, "The subscription has expired.")
            }
            Self::SubscriptionNotBegun => (
                ProblemCode::SubscriptionInactive,
                "The subscription has not begun. See its `starts_at`.",
            ),
            Self::SubscriptionEnded => (
                ProblemCode::SubscriptionInactive,
                "The subscription has ended. See its `ends_at`.",
            ),
            Self::TrialEnded => (
                ProblemCode::SubscriptionInactive,
                "The trial has ended. See the subscription's `trial_ends_at`.",
            ),
            Self::LicenseRevoked => (
                ProblemCode::LicenseRevoked,
                "The license is revoked. Revocation is permanent; create a new license.",
            ),
            Self::LicenseSuspended => {
                (ProblemCode::LicenseSuspended, "The license is suspended. Reinstate it first.")
            }
            Self::LicenseExpired => {
                (ProblemCode::LicenseExpired, "The license has expired. Renew it first.")
            }
            Self::LicenseNotYetValid => (
                ProblemCode::LicenseNotYetValid,
                "The license is not valid yet. See its `valid_from`.",
            ),
        }
    }
}

/// Returns an end with the days of grace, at most the last instant of the year 9999.
fn with_grace(end: DateTime<Utc>, grace_days: i64) -> DateTime<Utc> {
    let over = end.checked_add_signed(TimeDelta::days(grace_days));
    over.unwrap_or(Moment::MAX).min(Moment::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hour(n: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + n * 3600, 0).unwrap()
    }

    fn terms() -> impl Strategy<Value = Terms> {
        let one_of = |values: &'static [_]| prop::sample::select(values);
        let when = || -100_i64..200;
        let statuses = (
            prop::sample::select(OrganizationStatus::ALL),
            prop::sample::select(DeploymentStatus::ALL),
            prop::sample::select(SubscriptionStatus::ALL),
            one_of(&[LicenseStatus::Active, LicenseStatus::Suspended, LicenseStatus::Revoked]),
        );
        let dates = (
            when(),
            prop::option::of(when()),
            prop::option::of(when()),
            when(),
            prop::option::of(when()),
            0_i64..4,
        );
        (statuses, dates).prop_map(|((organization, deployment, subscription, license), dates)| {
            let (starts, ends, trial, from, until, grace_days) = dates;
            Terms {
                organization_status: organization,
                deployment_status: deployment,
                subscription_status: subscription,
                subscription_starts_at: hour(starts),
                subscription_ends_at: ends.map(hour),
                subscription_trial_ends_at: trial.map(hour),
                license_status: license,
                valid_from: hour(from),
                valid_until: until.map(hour),
                grace_days,
            }
        })
    }

    proptest! {
        /// The answer is the conjunction of the rules of each level, written down plainly.
        #[test]
        fn each_level_decides(terms in terms(), at in -150_i64..350) {
            let now = hour(at);
            let grace = TimeDelta::days(terms.grace_days);
            let is_before = |end: Option<DateTime<Utc>>| end.is_none_or(|end| now < end + grace);
            let subscription = match terms.subscription_status {
                SubscriptionStatus::Trialing => is_before(terms.subscription_trial_ends_at),
                SubscriptionStatus::Active | SubscriptionStatus::PastDue => true,
                _ => false,
            };
            let covered = terms.organization_status == OrganizationStatus::Active
                && terms.deployment_status == DeploymentStatus::Active
                && subscription
                && terms.subscription_starts_at <= now
                && is_before(terms.subscription_ends_at)
                && terms.license_status == LicenseStatus::Active
                && terms.valid_from <= now
                && is_before(terms.valid_until);
            prop_assert_eq!(terms.covered_at(now).is_ok(), covered);
            prop_assert_eq!(terms.coverage_at(now).covered, covered);
        }

        /// A token is marked at the instants at which a new one would be refused, and at no others.
        #[test]
        fn marks_say_what_coverage_says(terms in terms(), at in -150_i64..350) {
            let (now, marks) = (hour(at), terms.marks());
            let is_marked = marks.from.is_some_and(|from| now < from)
                || marks.until.is_some_and(|until| until <= now);
            prop_assert_eq!(terms.covered_at(now).is_err(), is_marked);
        }

        /// A license is covered right before the end of its coverage, and not at that instant.
        #[test]
        fn coverage_holds_until_its_end(terms in terms(), at in -150_i64..350) {
            if let Ok(Some(until)) = terms.covered_at(hour(at)) {
                let before = until - TimeDelta::microseconds(1);
                prop_assert_eq!(terms.covered_at(before), Ok(Some(until)));
                prop_assert!(terms.covered_at(until).is_err());
            }
        }

        /// An earlier end never extends coverage.
        #[test]
        fn a_nearer_end_covers_no_longer(terms in terms(), end in -100_i64..200) {
            let mut nearer = terms.clone();
            let end = hour(end);
            nearer.valid_until = Some(terms.valid_until.map_or(end, |own| own.min(end)));
            prop_assert!(nearer.until() <= terms.until() || terms.until().is_none());
        }
    }

    #[test]
    fn an_end_with_grace_stays_within_the_year_9999() {
        let last = Moment::MAX;
        assert_eq!(last.to_rfc3339(), "9999-12-31T23:59:59.999999+00:00");
        assert_eq!(with_grace(last, 3660), last);
        assert_eq!(with_grace(hour(0), 1), hour(24));
    }
}
