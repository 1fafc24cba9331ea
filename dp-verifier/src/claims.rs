//! The claims of a license token: reading them strictly, and the rules they must satisfy.

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

/// The longest grace that is granted, whatever a token says, in seconds: 90 days. A license that
/// never ends shall be one that says so in its `exp`.
pub(crate) const MAX_GRACE: i64 = 90 * 86_400;

/// What the claims of an acceptable token say.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// By how many seconds the clocks of issuer and data plane may differ.
    pub(crate) leeway: i64,
    /// For how many seconds after `exp` a token may let itself be used, at most.
    pub(crate) max_grace: i64,
    /// For how many seconds before `exp` a license is expiring.
    pub(crate) expiring: i64,
}

/// The times of a token, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    iat: i64,
    nbf: i64,
    exp: i64,
    /// What the token says, which may be any number.
    grace: i64,
}

impl Times {
    pub(crate) fn of(claims: &DeploymentLicenseClaims) -> Self {
        let grace = claims.enforcement.as_ref().map_or(0, |enforcement| enforcement.grace_seconds);
        Self { iat: claims.iat, nbf: claims.nbf, exp: claims.exp, grace }
    }

    /// When the token ends together with its grace: it is over in that second.
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
    /// Reads the payload of a token: everything that must hold at any time.
    ///
    /// The order of refusals is fixed: JSON, issuer, audience, contract, everything else. `now`, in
    /// seconds since 1970, matters only for what is no license of this contract.
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

    /// How a license stands whose times hold.
    pub(crate) fn state(&self, claims: &DeploymentLicenseClaims, now: i64) -> LicenseState {
        let times = Times::of(claims);
        // The leeway admits a token without grace for a moment longer. That is no grace: by the
        // issuer's clock its time may not be over.
        let has_grace = times.end(self.max_grace) > times.exp;
        if has_grace && now >= times.exp {
            LicenseState::Grace
        } else if times.exp.saturating_sub(now) <= self.expiring {
            LicenseState::Expiring
        } else {
            LicenseState::Valid
        }
    }

    /// Why a payload that is not a license is refused.
    ///
    /// A token of another issuer or a later contract may well have another shape. Saying
    /// `claims_invalid` of those would send the reader the wrong way.
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

    fn audience(&self, aud: Option<&str>) -> Result<(), VerifyError> {
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

    /// The rules of time: valid from `nbf` on and until just before `exp` (RFC 7519 §4.1.4, §4.1.5),
    /// and then for the grace that the token itself grants.
    pub(crate) fn times(&self, times: &Times, now: i64) -> Result<(), VerifyError> {
        let Times { iat, nbf, exp, .. } = *times;
        // Dates are bounded above, so only a clock can come near the ends of i64.
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

    /// Nothing is issued in the future.
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

    /// Whether a URL is the issuer's own. What a token says must never lead a data plane elsewhere.
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
