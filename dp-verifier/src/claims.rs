//! The claims of a license token, and the rules that they must satisfy.

mod lease;
mod read;

use cp_contracts::{ContractVersion, DeploymentLicenseClaims};
use semver::Version;
use serde_json::{Map, Value};

use crate::ErrorCode::{
    AudienceWrong, ClaimsInvalid, ContractUnsupported, Expired, IssuerWrong, NotYetValid,
};
use crate::dates::is_date;
use crate::error::quoted;
use crate::json::{Fault, document};
use crate::{LicenseState, VerifyError};

/// The maximum grace period of any token, in seconds: 90 days. Only `exp` can make a license last
/// longer.
pub(crate) const MAX_GRACE: i64 = 90 * 86_400;

/// The rules for acceptable claims.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// The allowed difference between the clocks of issuer and data plane, in seconds.
    pub(crate) leeway: i64,
    /// The maximum grace period after `exp`, in seconds.
    pub(crate) max_grace: i64,
    /// The time before `exp` for which a license is expiring, in seconds.
    pub(crate) expiring: i64,
}

/// The times of a token, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    iat: i64,
    nbf: i64,
    exp: i64,
    /// The grace period in the token, which may be any number.
    grace: i64,
}

impl Times {
    pub(crate) fn of(claims: &DeploymentLicenseClaims) -> Self {
        let grace = claims.enforcement.as_ref().map_or(0, |enforcement| enforcement.grace_seconds);
        Self { iat: claims.iat, nbf: claims.nbf, exp: claims.exp, grace }
    }

    /// Returns the end of the grace period; exclusive.
    pub(crate) fn end(&self, max_grace: i64) -> i64 {
        self.exp.saturating_add(self.grace.clamp(0, max_grace))
    }

    fn plausible(&self) -> Result<(), VerifyError> {
        let Self { iat, nbf, exp, .. } = *self;
        if [iat, nbf, exp].iter().any(|date| !is_date(*date)) {
            return Err(VerifyError::new(ClaimsInvalid, "iat, nbf or exp is not a date"));
        }
        if exp <= nbf || exp < iat {
            return Err(VerifyError::new(ClaimsInvalid, "exp is not after nbf and iat"));
        }
        Ok(())
    }
}

impl Rules {
    /// Reads the payload of a token, and checks the rules that do not depend on the time.
    ///
    /// The order of refusals is fixed: JSON, issuer, audience, contract, everything else. `now`, in
    /// seconds since 1970, matters only for payloads that are no license of this contract.
    pub(crate) fn read(
        &self,
        payload: &[u8],
        now: i64,
    ) -> Result<DeploymentLicenseClaims, VerifyError> {
        let claims: DeploymentLicenseClaims =
            document(payload).map_err(|fault| self.first_refusal(payload, &fault, now))?;
        self.issuer(Some(&claims.iss))?;
        self.audience(Some(&claims.aud))?;
        contract(claims.contract.as_ref())?;
        Times::of(&claims).plausible()?;
        self.consistent(&claims)?;
        Ok(claims)
    }

    /// Returns the state of a license that is within its term and grace period.
    pub(crate) fn state(&self, claims: &DeploymentLicenseClaims, now: i64) -> LicenseState {
        let times = Times::of(claims);
        // The leeway admits a token without grace a little longer. That is no grace period: by the
        // issuer's clock the token may not have expired.
        let has_grace = times.end(self.max_grace) > times.exp;
        if has_grace && now >= times.exp {
            LicenseState::Grace
        } else if times.exp.saturating_sub(now) <= self.expiring {
            LicenseState::Expiring
        } else {
            LicenseState::Valid
        }
    }

    /// Returns the refusal of a payload that is not a license.
    ///
    /// A token of another issuer or of a later contract can have another shape. The code
    /// `claims_invalid` would mislead the operator in these cases.
    fn first_refusal(&self, payload: &[u8], fault: &Fault, now: i64) -> VerifyError {
        let invalid = |fault: &Fault| VerifyError::new(ClaimsInvalid, format!("claims: {fault}"));
        let claims: Map<String, Value> = match document(payload) {
            Ok(claims) => claims,
            Err(fault) => return invalid(&fault),
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let date = |name: &str| claims.get(name).and_then(Value::as_i64);
        let enforcement = claims.get("enforcement").and_then(Value::as_object);
        let grace = enforcement.and_then(|members| members.get("grace_seconds")?.as_i64());
        let grace = grace.unwrap_or_default();
        let refusal = self
            .issuer(text("iss"))
            .and_then(|()| self.audience(text("aud")))
            .and_then(|()| contract(text("contract").and_then(|text| text.parse().ok()).as_ref()))
            .and_then(|()| match (date("iat"), date("nbf"), date("exp")) {
                (Some(iat), Some(nbf), Some(exp)) => {
                    let times = Times { iat, nbf, exp, grace };
                    times.plausible().and_then(|()| self.times(&times, now))
                }
                _ => Ok(()),
            });
        refusal.err().unwrap_or_else(|| invalid(fault))
    }

    pub(crate) fn issuer(&self, iss: Option<&str>) -> Result<(), VerifyError> {
        let actual = match iss {
            Some(iss) if iss == self.issuer => return Ok(()),
            Some(iss) => format!("issued by {}", quoted(iss)),
            None => "names no issuer".to_owned(),
        };
        Err(VerifyError::new(IssuerWrong, format!("{actual}, not by {}", quoted(&self.issuer))))
    }

    pub(crate) fn audience(&self, aud: Option<&str>) -> Result<(), VerifyError> {
        let actual = match aud {
            Some(aud) if aud == self.audience => return Ok(()),
            Some(aud) => format!("meant for {}", quoted(aud)),
            None => "names no single audience".to_owned(),
        };
        Err(VerifyError::new(
            AudienceWrong,
            format!("{actual}, not for {}", quoted(&self.audience)),
        ))
    }

    /// Checks the times: a token is valid from `nbf` until just before `exp` (RFC 7519 §4.1.4,
    /// §4.1.5), and then for the grace period that it grants.
    pub(crate) fn times(&self, times: &Times, now: i64) -> Result<(), VerifyError> {
        let Times { iat, nbf, exp, .. } = *times;
        // Dates are bounded, so only a clock can be near the limits of i64.
        if now >= times.end(self.max_grace).saturating_add(self.leeway) {
            return Err(VerifyError::new(
                Expired,
                format!("expired {} s ago", now.saturating_sub(exp)),
            ));
        }
        let latest_begin = now.saturating_add(self.leeway);
        if latest_begin < nbf {
            return Err(VerifyError::new(
                NotYetValid,
                format!("begins in {} s", nbf.saturating_sub(now)),
            ));
        }
        self.issued(iat, now)
    }

    /// Refuses documents that were issued in the future.
    pub(crate) fn issued(&self, iat: i64, now: i64) -> Result<(), VerifyError> {
        if iat <= now.saturating_add(self.leeway) {
            return Ok(());
        }
        let ahead = iat.saturating_sub(now);
        Err(VerifyError::new(NotYetValid, format!("issued {ahead} s in the future")))
    }

    fn consistent(&self, claims: &DeploymentLicenseClaims) -> Result<(), VerifyError> {
        if claims.license.seat_cap < 0 {
            return Err(VerifyError::new(ClaimsInvalid, "license.seat_cap is negative"));
        }
        match &claims.status {
            Some(status) => self.own("status.status_list.uri", &status.status_list.uri),
            None => Ok(()),
        }
    }

    /// Checks that a URL is the issuer's. A token must never lead a data plane to another server.
    pub(crate) fn own(&self, member: &str, url: &str) -> Result<(), VerifyError> {
        let issuer = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        if url.strip_prefix(issuer).is_some_and(|path| path.starts_with('/')) {
            return Ok(());
        }
        let detail = format!("{member} is {}, which is not the issuer's", quoted(url));
        Err(VerifyError::new(ClaimsInvalid, detail))
    }
}

pub(crate) fn contract(version: Option<&Version>) -> Result<(), VerifyError> {
    match version {
        Some(version) if ContractVersion::of(version).is_none() => {
            let version = quoted(&version.to_string());
            Err(VerifyError::new(
                ContractUnsupported,
                format!("contract {version} is not supported"),
            ))
        }
        _ => Ok(()),
    }
}
