//! The claims of a lease token, and the rules that they must satisfy.

use cp_contracts::LeaseClaims;
use serde_json::{Map, Value};

use super::{Rules, contract};
use crate::ErrorCode::{ClaimsInvalid, LeaseExpired, NotYetValid};
use crate::VerifyError;
use crate::dates::is_date;
use crate::json::{Fault, document};

impl Rules {
    /// Reads the payload of a lease token, and checks the rules that do not depend on the time.
    ///
    /// The order of refusals is that of license tokens: JSON, issuer, audience, contract,
    /// everything else.
    pub(crate) fn read_lease(&self, payload: &[u8]) -> Result<LeaseClaims, VerifyError> {
        let claims: LeaseClaims =
            document(payload).map_err(|fault| self.first_lease_refusal(payload, &fault))?;
        self.issuer(Some(&claims.iss))?;
        self.audience(Some(&claims.aud))?;
        contract(claims.contract.as_ref())?;
        if [claims.iat, claims.nbf, claims.exp].iter().any(|date| !is_date(*date)) {
            return Err(VerifyError::new(ClaimsInvalid, "iat, nbf or exp is not a date"));
        }
        if claims.exp <= claims.nbf || claims.exp < claims.iat {
            return Err(VerifyError::new(ClaimsInvalid, "exp is not after nbf and iat"));
        }
        if let Some(status) = &claims.status {
            self.own("status.status_list.uri", &status.status_list.uri)?;
        }
        Ok(claims)
    }

    /// Returns the refusal of a payload that is not a lease.
    fn first_lease_refusal(&self, payload: &[u8], fault: &Fault) -> VerifyError {
        let invalid = |fault: &Fault| VerifyError::new(ClaimsInvalid, format!("claims: {fault}"));
        let claims: Map<String, Value> = match document(payload) {
            Ok(claims) => claims,
            Err(fault) => return invalid(&fault),
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let refusal = self
            .issuer(text("iss"))
            .and_then(|()| self.audience(text("aud")))
            .and_then(|()| contract(text("contract").and_then(|text| text.parse().ok()).as_ref()));
        refusal.err().unwrap_or_else(|| invalid(fault))
    }

    /// Checks the times of a lease.
    ///
    /// The leeway admits a lease before its beginning, for an issuer whose clock is ahead. It does
    /// not extend the lease: from its end on, another holder may have the seat.
    pub(crate) fn lease_times(&self, claims: &LeaseClaims, now: i64) -> Result<(), VerifyError> {
        if now >= claims.exp {
            let ago = now.saturating_sub(claims.exp);
            return Err(VerifyError::new(LeaseExpired, format!("the lease ended {ago} s ago")));
        }
        if now.saturating_add(self.leeway) < claims.nbf {
            let ahead = claims.nbf.saturating_sub(now);
            return Err(VerifyError::new(NotYetValid, format!("the lease begins in {ahead} s")));
        }
        self.issued(claims.iat, now)
    }
}
