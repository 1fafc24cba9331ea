//! Verdicts: whether data planes accept a license now, and if not, why.
//!
//! # Design
//! A verdict repeats no rule. Coverage decides about organization, deployment, subscription and license.
//! The bundle's own status, the keyring and the log decide about the newest token. So a verdict agrees
//! with issuance and with status lists.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::bundles::rows::BundleStatus;
use super::checks::{Check, CheckStatus};
use super::coverage::{Cause, Terms};
use super::keys::KeyState;
use super::keys::keyring::Keyring;
use super::leases::pools::{self, PoolFill};
use super::leases::rows::{Facts as LicenseFacts, facts_and};
use super::status_lists::StatusSettings;
use crate::kernel::app::Part;
use crate::kernel::clock::shown;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::journal::store;
use crate::licensing::ids::{BundleId, LicenseId};

crate::routes! {
    verdicts:
    /// Returns whether data planes accept the license now, by checks in a fixed order.
    ///
    /// The checks are `organization`, `subscription`, `license` (with its deployment), `seats`, `token`,
    /// `signing_key`, `status_list` and `log`. The last four are about the newest token.
    GET "/licenses/{id}/verdict" LICENSES_READ => read as "licenses.verdict";
}

/// Whether data planes accept a license now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LicenseVerdict {
    /// Whether a data plane accepts the newest token.
    accepted: bool,
    /// The code of the first check that failed, such as `license_suspended`; null when accepted.
    code: Option<String>,
    /// The checks in their order.
    checks: Vec<Check>,
    /// The use of the license's pools of seats.
    pools: Vec<PoolFill>,
}

/// The facts of a license and its newest token.
#[derive(sqlx::FromRow)]
struct Facts {
    #[sqlx(flatten)]
    license: LicenseFacts,
    jti: Option<BundleId>,
    /// The values of the newest token; null, like the fields below, without one.
    bundle_status: Option<BundleStatus>,
    /// The revision of the license in the token.
    signed_revision: Option<i64>,
    key_id: Option<String>,
    issued_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
}

/// A check, and the code of a failure.
type Judged = (Check, Option<String>);

async fn read(cx: &mut Cx, id: LicenseId) -> Result<LicenseVerdict> {
    let facts = facts(cx, id).await?;
    let pools = pools::fill(cx, id, &facts.license).await?;
    let terms = &facts.license.terms;
    let causes = terms.causes_at(cx.now);
    let judged: Vec<Judged> = vec![
        organization(&causes),
        subscription(terms, &causes),
        license(terms, &causes, cx.now),
        seats(&pools),
        token(&facts, &causes, cx.now),
        signing_key(cx, &facts),
        status_list(cx, &facts),
        log(cx, &facts).await?,
    ];
    let code = judged.iter().find_map(|(_, code)| code.clone());
    let checks: Vec<Check> = judged.into_iter().map(|(check, _)| check).collect();
    let accepted = !checks.iter().any(|check| check.status == CheckStatus::Fail);
    Ok(LicenseVerdict { accepted, code, checks, pools })
}

async fn facts(cx: &mut Cx, id: LicenseId) -> Result<Facts> {
    let columns = "b.id AS jti, b.status AS bundle_status, b.license_revision AS signed_revision,
                   b.key_id, b.issued_at, b.expires_at";
    let join = " LEFT JOIN bundles b ON b.id = l.bundle_id";
    let query = facts_and(&mut cx.tx, id, columns, join).and(" AND l.organization_id = ?", cx.at);
    Ok(query.one().await?)
}

fn organization(causes: &[Cause]) -> Judged {
    failed("organization", causes, &[Cause::OrganizationSuspended])
        .unwrap_or_else(|| (Check::ok("organization", "active"), None))
}

fn subscription(terms: &Terms, causes: &[Cause]) -> Judged {
    let own = [
        Cause::SubscriptionPaused,
        Cause::SubscriptionCanceled,
        Cause::SubscriptionExpired,
        Cause::SubscriptionNotBegun,
        Cause::SubscriptionEnded,
        Cause::TrialEnded,
    ];
    let works = || {
        let status = terms.subscription_status.to_string();
        let detail = match terms.subscription_ends_at {
            Some(end) => format!("{status}, ends on {}", shown(end)),
            None => format!("{status}, without an end"),
        };
        (Check::ok("subscription", detail), None)
    };
    failed("subscription", causes, &own).unwrap_or_else(works)
}

fn license(terms: &Terms, causes: &[Cause], now: DateTime<Utc>) -> Judged {
    let own = [
        Cause::DeploymentInactive,
        Cause::LicenseRevoked,
        Cause::LicenseSuspended,
        Cause::LicenseExpired,
        Cause::LicenseNotYetValid,
    ];
    let works = || {
        let check = match terms.valid_until {
            None => Check::ok("license", "active, without an end"),
            Some(end) if end <= now => {
                let detail = format!("ended on {}; its days of grace run", shown(end));
                Check::warn("license", detail, "Renew the license.")
            }
            Some(end) => {
                Check::ok("license", format!("active, {} left", days((end - now).num_days())))
            }
        };
        (check, None)
    };
    failed("license", causes, &own).unwrap_or_else(works)
}

/// Returns the failure for the first of these causes that applies.
fn failed(name: &'static str, causes: &[Cause], own: &[Cause]) -> Option<Judged> {
    let cause = causes.iter().find(|cause| own.contains(cause))?;
    let (code, detail) = cause.problem();
    let detail = detail.split_once(". ").map_or(detail, |(what, _)| what).trim_end_matches('.');
    let fix = match cause {
        Cause::OrganizationSuspended => "Activate the organization.",
        Cause::DeploymentInactive => "Activate the deployment, or transfer the license.",
        Cause::SubscriptionPaused => "Resume the subscription.",
        Cause::SubscriptionNotBegun => "Wait for the beginning, or set an earlier `starts_at`.",
        Cause::SubscriptionCanceled
        | Cause::SubscriptionExpired
        | Cause::SubscriptionEnded
        | Cause::TrialEnded => "Renew the subscription, or create another one.",
        Cause::LicenseRevoked => "Create a new license. Revocation is permanent.",
        Cause::LicenseSuspended => "Reinstate the license.",
        Cause::LicenseExpired => "Renew the license.",
        Cause::LicenseNotYetValid => "Wait for the beginning, or set an earlier `valid_from`.",
    };
    Some((Check::fail(name, detail, fix), Some(code.as_str().to_owned())))
}

/// Full pools refuse new holders, but no data plane refuses the license.
fn seats(pools: &[PoolFill]) -> Judged {
    let detail = |PoolFill { name, used, cap }: &PoolFill| match cap {
        Some(cap) => format!("{name}: {used} of {cap} taken"),
        None => format!("{name}: {used} taken, unlimited"),
    };
    let all: Vec<String> = pools.iter().map(detail).collect();
    let is_full = pools.iter().any(|pool| pool.cap.is_some_and(|cap| pool.used >= cap));
    let check = match (all.is_empty(), is_full) {
        (true, _) => Check::skipped("seats", "the license has no pool of seats"),
        (false, false) => Check::ok("seats", all.join("; ")),
        (false, true) => {
            Check::warn("seats", all.join("; "), "End a lease, or raise the number of seats.")
        }
    };
    (check, None)
}

fn token(facts: &Facts, causes: &[Cause], now: DateTime<Utc>) -> Judged {
    let fail = |detail: String, fix: &str, code: &str| {
        (Check::fail("token", detail, fix), Some(code.to_owned()))
    };
    let (Some(status), Some(from), Some(until)) =
        (facts.bundle_status, facts.issued_at, facts.expires_at)
    else {
        return fail("no token was issued".to_owned(), "Issue a token.", "token_missing");
    };
    if status == BundleStatus::Revoked {
        return fail("the newest token is revoked".to_owned(), "Issue a new token.", "revoked");
    }
    if until <= now {
        let detail = format!("the newest token ended on {}", shown(until));
        return fail(detail, "Issue a new token.", "expired");
    }
    if status == BundleStatus::Suspended || !causes.is_empty() {
        return (Check::skipped("token", "suspended while the license is not in force"), None);
    }
    let left = until - now;
    let detail = format!("ends in {}", remaining(left));
    let check = if facts.signed_revision != Some(facts.license.license_revision) {
        let fix = "Issue a new token, or wait for the next check-in.";
        Check::warn("token", format!("{detail}; the license has changed since"), fix)
    } else if left * 10 < until - from {
        Check::warn("token", detail, "Issue a new token, or wait for the next check-in.")
    } else {
        Check::ok("token", detail)
    };
    (check, None)
}

fn signing_key(cx: &Cx, facts: &Facts) -> Judged {
    let Some(kid) = &facts.key_id else {
        return (Check::skipped("signing_key", "no token was issued"), None);
    };
    let fail = |detail: &str, code: &str| {
        let check = Check::fail("signing_key", detail, "Issue a new token.");
        (check, Some(code.to_owned()))
    };
    match Keyring::of(&cx.app).state_of(kid) {
        Some(KeyState::Active) => (Check::ok("signing_key", "in the JWKS, signing"), None),
        Some(KeyState::Published | KeyState::Retiring) | None => {
            (Check::ok("signing_key", "in the JWKS"), None)
        }
        Some(KeyState::Compromised) => fail("compromised, no longer in the JWKS", "key_withdrawn"),
        Some(KeyState::Staged | KeyState::Retired) => fail("no longer in the JWKS", "kid_unknown"),
    }
}

fn status_list(cx: &Cx, facts: &Facts) -> Judged {
    if facts.jti.is_none() {
        return (Check::skipped("status_list", "no token was issued"), None);
    }
    let ttl = StatusSettings::of(&cx.app).ttl;
    (Check::ok("status_list", format!("copies are up to {} old", remaining(ttl))), None)
}

async fn log(cx: &mut Cx, facts: &Facts) -> Result<Judged> {
    let Some(jti) = facts.jti else {
        return Ok((Check::skipped("log", "no token was issued"), None));
    };
    let (position, signed) = store::position_of_issue(&mut cx.tx, jti.0).await?;
    Ok(match position {
        None => {
            let fix = "Verify the log with `cp-server audit verify`, and issue a new token.";
            let check = Check::fail("log", "no event issued the newest token", fix);
            (check, Some("not_logged".to_owned()))
        }
        Some(Some(seq)) if u64::try_from(seq).is_ok_and(|seq| seq < signed) => {
            (Check::ok("log", format!("leaf {seq} is in the signed tree")), None)
        }
        Some(_) => (Check::ok("log", "the signed tree follows within seconds"), None),
    })
}

fn days(count: i64) -> String {
    if count == 1 { "1 day".to_owned() } else { format!("{count} days") }
}

fn remaining(time: TimeDelta) -> String {
    match (time.num_days(), time.num_hours(), time.num_minutes()) {
        (count @ 2.., ..) => days(count),
        (_, hours @ 2.., _) => format!("{hours} hours"),
        (.., 1) => "1 minute".to_owned(),
        (.., minutes) => format!("{minutes} minutes"),
    }
}
