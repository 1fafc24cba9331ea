//! Check-in: a data plane asks for the state of its license, and renews its own token.
//!
//! # Design
//! Most check-ins find nothing new. They cost one indexed read, and at most once a minute the write
//! of `last_seen_at`. The server signs when the data plane's token is not the newest, was revoked,
//! shows an older license, or is two thirds through its life. So a fleet renews its tokens by
//! itself, long before they end.
//!
//! The newest bundle is the one that was written last, not the one with the latest date: a clock that
//! was set back does not hide new bundles behind old ones. The write of a new bundle names the
//! newest one of the read. So of concurrent check-ins one signs, and the others find its bundle.

mod state;

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::{CheckIn, CheckInCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::state::{PACE, State, next_check_in, patience};
use super::coverage::Cause;
use super::issuance::NewBundle;
use super::licenses::rows as licenses;
use super::{bundles, deployments};
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::text::{Prose, Reference};
use crate::licensing::ids::BundleId;
use crate::tenancy::organizations;

crate::routes! { deployments:
    /// Returns the state of the deployment's license, and a new token when the data plane needs one.
    ///
    /// The answer is 200 also for a license that is not in force: its `code` is then the reason. With
    /// several licenses, the one of the token `jti` answers, else the newest one in force.
    POST "/deployments/{id}/check-in" LICENSES_FETCH => check_in,
        own_transaction, conditional_audit, unmetered, harmless, machine;
}

crate::text_enum! {
    /// Whether a check-in renews the token.
    Want {
        /// When the token is not the newest, was revoked, shows an older license, or is two thirds
        /// through its life; also when the request names no token.
        Auto = "auto",
        /// Always, but not before `not_before`.
        Token = "token",
        /// Never.
        Nothing = "nothing",
    }
}

/// The state that a data plane reports. All of it is optional.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCheckIn {
    /// The `jti` of the data plane's token. Absent when it has none.
    jti: Option<BundleId>,
    /// The version of the contract that the data plane reads.
    contract: Option<Reference>,
    /// The name and version of the verifier.
    verifier: Option<Reference>,
    /// The newest checkpoint of the log that the data plane has seen, at most 4,000 characters.
    checkpoint: Option<Prose>,
    /// The date of the data plane's status list, in seconds since 1970.
    status_list_iat: Option<Between<0, 253_402_300_799>>,
    /// Whether the check-in renews the token. `auto` when absent.
    #[serde(default = "auto")]
    want: Want,
}

/// What the event of a signature contains of the request.
#[derive(Serialize)]
struct Reported {
    jti: Option<BundleId>,
    contract: Option<Reference>,
    verifier: Option<Reference>,
    checkpoint: Option<Prose>,
    status_list_iat: Option<i64>,
}

fn auto() -> Want {
    Want::Auto
}

async fn check_in(cx: &mut Cx, id: DeploymentId, new: NewCheckIn) -> Result<CheckIn> {
    let states = state::read(cx, id, new.jti).await?;
    let Some(state) = state::chosen(states, cx.now) else {
        cx.audit.omit();
        let last = deployments::last_seen(cx, id).await?;
        let ttl = state::default_life(&cx.app);
        see(cx, id, last, ttl).await?;
        return Ok(CheckIn {
            code: CheckInCode::LicenseMissing,
            license_id: None,
            bundle: None,
            next_check_in_at: next_check_in(cx.now, ttl, id.0),
            not_before: cx.now,
            server_time: cx.now,
            extra: Map::new(),
        });
    };
    let code = match state.terms.covered_at(cx.now) {
        Ok(_) => CheckInCode::Valid,
        Err(cause) => code_of(cause),
    };
    let is_wanted = match new.want {
        Want::Auto => state.is_due(new.jti, cx.now),
        Want::Token => true,
        Want::Nothing => false,
    };
    let is_signed = is_wanted && code == CheckInCode::Valid && state.may_sign(cx.now);
    let not_before = state.not_before(cx.now);
    let mut answer = CheckIn {
        code,
        license_id: Some(state.license_id.0),
        bundle: None,
        next_check_in_at: state.next_check_in(&cx.app, cx.now).max(not_before),
        not_before,
        server_time: cx.now,
        extra: Map::new(),
    };
    if is_signed && not_before <= cx.now {
        return renew(cx, id, &state, new, answer).await;
    }
    if is_signed {
        // The data plane gets its token as soon as the server signs again.
        answer.next_check_in_at = not_before;
    }
    cx.audit.omit();
    let life = state.life(&cx.app);
    see(cx, id, state.last_seen_at, life).await?;
    Ok(answer)
}

/// Signs a new token, and answers with it.
async fn renew(
    cx: &mut Cx,
    id: DeploymentId,
    state: &State,
    new: NewCheckIn,
    mut answer: CheckIn,
) -> Result<CheckIn> {
    let bundle = NewBundle::default();
    let signed = bundles::sign(cx, state.license_id, &bundle).await;
    // The license changed after the read: the check-in starts over, and reports the reason.
    let signed = signed.map_err(|error| {
        let code = CheckInCode::from(error.code().as_str());
        if matches!(code, CheckInCode::Other(_)) { error } else { Error::stale() }
    })?;
    cx.begin().await?;
    // Every change locks the deployment before the organization, and the organization before its
    // licenses.
    let life = signed.response.expires_at - signed.response.issued_at;
    deployments::see(cx, id, PACE, patience(life)).await?;
    organizations::hold(cx, signed.organization, signed.organization_revision).await?;
    licenses::hold_newest(cx, state.license_id, state.jti).await?;
    let mut record = signed.record();
    let reported = Reported {
        jti: new.jti,
        contract: new.contract,
        verifier: new.verifier,
        checkpoint: new.checkpoint,
        status_list_iat: new.status_list_iat.map(|iat| iat.0),
    };
    if let Value::Object(members) = &mut record {
        let reported = serde_json::to_value(reported).map_err(Error::internal)?;
        members.insert("reported".into(), reported);
    }
    let bundle = bundles::write(cx, signed, &bundle, "deployments.check_in").await?;
    cx.audit.after = Some(record);
    let life = bundle.expires_at - bundle.issued_at;
    answer.not_before = bundle.issued_at + PACE;
    answer.next_check_in_at = next_check_in(cx.now, life, bundle.jti).max(answer.not_before);
    answer.bundle = Some(bundle);
    Ok(answer)
}

/// Stores the contact with the deployment, at most once a minute.
async fn see(
    cx: &mut Cx,
    id: DeploymentId,
    last: Option<DateTime<Utc>>,
    life: TimeDelta,
) -> Result<()> {
    if last.is_some_and(|last| (last - cx.now).abs() < PACE) {
        return Ok(());
    }
    cx.begin().await?;
    deployments::see(cx, id, PACE, patience(life)).await
}

fn code_of(cause: Cause) -> CheckInCode {
    cause.problem().0.as_str().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_code() {
        for cause in Cause::ALL {
            let code = code_of(*cause);
            assert!(!matches!(code, CheckInCode::Other(_)), "{cause}: {code}");
        }
    }
}
