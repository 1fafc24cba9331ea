//! What a check-in reads: the licenses of a deployment with their newest bundles.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use uuid::Uuid;

use crate::kernel::access::ids::DeploymentId;
use crate::kernel::app::{App, Part};
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::bundles::rows::BundleStatus;
use crate::licensing::coverage::{Terms, terms};
use crate::licensing::ids::{BundleId, LicenseId};
use crate::licensing::issuance::TokenSettings;
use crate::licensing::statuses::LicenseStatus;
use crate::licensing::token_ttl::TtlLevels;

/// The shortest time between two tokens of a license that check-ins renew, between two check-ins,
/// and between two writes of `last_seen_at`.
pub(super) const PACE: TimeDelta = TimeDelta::seconds(60);
/// The longest time between two check-ins, before it is spread.
const LONGEST: TimeDelta = TimeDelta::hours(12);
/// The time after which a check-in follows the instant at which a token is due, at least. Data planes count
/// in full seconds, and may be early.
const MARGIN: TimeDelta = TimeDelta::seconds(5);

/// A license of the deployment, with its newest bundle.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct State {
    pub license_id: LicenseId,
    #[sqlx(flatten)]
    pub terms: Terms,
    #[sqlx(flatten)]
    token_ttl: TtlLevels,
    revision: i64,
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Whether the bundle that the request names is one of this license.
    is_named: bool,
    /// The newest bundle; null, like the fields below, before the first one.
    pub jti: Option<BundleId>,
    bundle_status: Option<BundleStatus>,
    license_revision: Option<i64>,
    issued_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
}

/// Reads the deployment's licenses in one statement: the named one first, then those that are not
/// revoked, then the newest. Further ones do not matter.
pub(super) async fn read(
    cx: &mut Cx,
    deployment: DeploymentId,
    named: Option<BundleId>,
) -> Result<Vec<State>> {
    let sql = concat!(
        "SELECT l.id AS license_id, l.revision, d.last_seen_at, ",
        terms!(),
        ",
                      v.token_ttl_seconds AS plan_token_ttl,
                      s.token_ttl_seconds AS subscription_token_ttl,
                      l.token_ttl_seconds AS license_token_ttl,
                      b.id AS jti, b.status AS bundle_status, b.license_revision, b.issued_at,
                      b.expires_at,
                      EXISTS (SELECT 1 FROM bundles n WHERE n.id = $3 AND n.license_id = l.id)
                          AS is_named
               FROM licenses l
               JOIN organizations o ON o.id = l.organization_id
               JOIN deployments d ON d.id = l.deployment_id
               JOIN subscriptions s ON s.id = l.subscription_id
               JOIN plan_versions v ON v.plan_id = s.plan_id AND v.version = s.plan_version
               LEFT JOIN bundles b ON b.id = l.bundle_id
               WHERE l.deployment_id = $1 AND l.organization_id = $2
               ORDER BY is_named DESC, CASE l.status WHEN 'revoked' THEN 1 ELSE 0 END, l.id DESC
               LIMIT 20"
    );
    Ok(cx.tx.q(sql).bind(deployment).bind(cx.at).bind(named).all().await?)
}

/// Returns the license that answers: that of the named bundle, else the newest one in force, else the
/// newest.
///
/// A revoked license is permanently over: the license that replaced it answers, if one is in force.
pub(super) fn chosen(states: Vec<State>, now: DateTime<Utc>) -> Option<State> {
    let is_in_force = |state: &State| state.terms.covered_at(now).is_ok();
    let lives = |state: &State| state.terms.license_status != LicenseStatus::Revoked;
    let rank = |state: &State| {
        (state.is_named && lives(state), is_in_force(state), state.is_named, state.license_id)
    };
    states.into_iter().max_by_key(rank)
}

/// Returns the life of tokens by the server's setting.
pub(super) fn default_life(app: &App) -> TimeDelta {
    TokenSettings::of(app).ttl
}

/// Returns the time after a check-in from which the deployment is silent: three intervals.
pub(super) fn patience(life: TimeDelta) -> TimeDelta {
    interval(life) * 3
}

fn interval(life: TimeDelta) -> TimeDelta {
    (life / 3).min(LONGEST).max(PACE)
}

/// Returns the instant of the next check-in of a token with this life: after a third of it, at most 12
/// hours, ± 10 % by an ID, so that a fleet that began together spreads out.
pub(super) fn next_check_in(now: DateTime<Utc>, life: TimeDelta, by: Uuid) -> DateTime<Utc> {
    let third = interval(life);
    let spread = i64::from(by.as_bytes()[15]) - 128;
    now + TimeDelta::milliseconds(third.num_milliseconds() * (1280 + spread) / 1280)
}

/// Returns the instant of the next check-in of a token that is renewed from `due` on. A check-in shortly
/// before `due` would sign nothing, and the one after it could be almost at the token's end. So a
/// check-in that would be up to a quarter of the interval before `due`, or later, moves to the
/// tenth of an interval after it.
fn next_or_due(
    now: DateTime<Utc>,
    life: TimeDelta,
    by: Uuid,
    due: Option<DateTime<Utc>>,
) -> DateTime<Utc> {
    let next = next_check_in(now, life, by);
    let interval = interval(life);
    match due.filter(|due| now < *due && *due <= next + interval / 4) {
        Some(due) => due + MARGIN + interval * i32::from(by.as_bytes()[15]) / 2560,
        None => next,
    }
}

impl State {
    /// Returns whether the data plane with this token needs a new one.
    pub(super) fn is_due(&self, named: Option<BundleId>, now: DateTime<Utc>) -> bool {
        let is_newest = named.is_some() && named == self.jti;
        let is_revoked = self.bundle_status == Some(BundleStatus::Revoked);
        let is_changed = self.license_revision != Some(self.revision);
        let is_over = self.due().is_none_or(|at| at <= now);
        !is_newest || is_revoked || is_changed || is_over || self.is_of_the_future(now)
    }

    /// Returns the instant after two thirds of the newest token's life.
    fn due(&self) -> Option<DateTime<Utc>> {
        self.issued_at.zip(self.expires_at).map(|(from, to)| from + (to - from) * 2 / 3)
    }

    /// Returns whether the newest token was issued by a clock that was set back since: data planes would
    /// refuse it until the clock has caught up. Two replicas' clocks differ by less than the pace.
    fn is_of_the_future(&self, now: DateTime<Utc>) -> bool {
        self.issued_at.is_some_and(|issued_at| issued_at > now + PACE)
    }

    /// Returns whether a token that is signed now has a life, which is in whole seconds.
    pub(super) fn may_sign(&self, now: DateTime<Utc>) -> bool {
        self.terms.until().is_none_or(|end| now.trunc_subsecs(0) < end.trunc_subsecs(0))
    }

    /// Returns the instant before which the server signs nothing.
    pub(super) fn not_before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.issued_at {
            Some(issued_at) if !self.is_of_the_future(now) => issued_at + PACE,
            _ => now,
        }
    }

    /// Returns the instant of the next check-in, if the server signs nothing now.
    pub(super) fn next_check_in(&self, app: &App, now: DateTime<Utc>) -> DateTime<Utc> {
        let by = self.jti.map_or(self.license_id.0, |jti| jti.0);
        next_or_due(now, self.life(app), by, self.due())
    }

    /// Returns the life of the newest token, or that of the next one.
    pub(super) fn life(&self, app: &App) -> TimeDelta {
        let ttl = TimeDelta::seconds(self.token_ttl.explained(app).value);
        // A token may have a shorter life, up to the license's end.
        let own = self.expires_at.zip(self.issued_at).map(|(to, from)| to - from);
        own.map_or(ttl, |own| own.min(ttl))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_check_in_is_after_a_third_of_the_life_and_spread_by_a_tenth() {
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let after = |life: i64, last: u8| {
            let mut id = [0; 16];
            id[15] = last;
            (next_check_in(now, TimeDelta::seconds(life), Uuid::from_bytes(id)) - now).num_seconds()
        };
        assert_eq!(after(10_800, 128), 3600);
        assert_eq!([after(10_800, 0), after(10_800, 255)], [3240, 3957]);
        assert_eq!(after(30 * 86_400, 128), 12 * 3600);
        assert_eq!(after(1, 128), 60, "never at once");
    }

    /// Follows the check-ins of a token until one renews it, each this much early. Returns the life that
    /// is left then, in thousandths, and the number of check-ins.
    fn left_at_renewal(life: TimeDelta, last: u8, early: TimeDelta) -> (i64, u32) {
        let issued_at = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let mut id = [0; 16];
        id[15] = last;
        let (by, due) = (Uuid::from_bytes(id), issued_at + life * 2 / 3);
        let (mut now, mut check_ins) = (next_check_in(issued_at, life, by) - early, 1);
        while now < due {
            (now, check_ins) = (next_or_due(now, life, by, Some(due)) - early, check_ins + 1);
        }
        let left = (issued_at + life - now).num_milliseconds();
        (left * 1000 / life.num_milliseconds(), check_ins)
    }

    #[test]
    fn token_is_renewed_with_a_quarter_of_its_life_left() {
        for hours in [1, 2, 12, 24, 30, 36, 37, 40, 60] {
            for last in 0..=255 {
                for early in [0, 1, 2] {
                    let life = TimeDelta::hours(hours);
                    let (left, check_ins) = left_at_renewal(life, last, TimeDelta::seconds(early));
                    let case = format!("{hours} h, {last}, {early} s early");
                    assert!((250..=334).contains(&left), "{case}: {left}");
                    // One after each interval, and none shortly before the renewal.
                    assert!(hours > 36 || check_ins == 2, "{case}: {check_ins}");
                }
            }
        }
    }
}
