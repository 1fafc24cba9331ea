//! Verified licenses.

use dp_verifier_bindings::dp_verifier::{self, LicenseState};
use dp_verifier_bindings::{Failure, license_json};
use napi::Result;
use napi_derive::napi;
use serde_json::json;

use crate::task::{count, error};

/// The amount of a metric that a license includes.
#[napi]
pub struct NativeLimit {
    limit: dp_verifier::Limit,
}

#[napi]
impl NativeLimit {
    #[napi(getter, catch_unwind)]
    pub fn kind(&self) -> &'static str {
        match self.limit {
            dp_verifier::Limit::Unlimited => "unlimited",
            dp_verifier::Limit::AtMost(_) => "at_most",
            dp_verifier::Limit::NotIncluded => "not_included",
        }
    }

    /// A number of JavaScript, exact up to 2^53.
    #[napi(getter, catch_unwind)]
    pub fn value(&self) -> Option<f64> {
        match self.limit {
            #[expect(clippy::cast_precision_loss, reason = "numbers of JavaScript are doubles")]
            dp_verifier::Limit::AtMost(value) => Some(value as f64),
            _ => None,
        }
    }

    #[napi(catch_unwind)]
    pub fn allows_another(&self, used: f64) -> Result<bool> {
        Ok(self.limit.allows_another(count("used", used)?))
    }
}

/// A verified license.
#[napi]
pub struct NativeLicense {
    pub(crate) license: dp_verifier::LicenseContext,
}

#[napi]
impl NativeLicense {
    #[napi(getter, catch_unwind)]
    pub fn state(&self) -> &'static str {
        self.license.state().as_str()
    }

    #[napi(catch_unwind)]
    pub fn has_feature(&self, name: String) -> bool {
        self.license.has_feature(&name)
    }

    #[napi(catch_unwind)]
    pub fn limit(&self, metric: String) -> NativeLimit {
        NativeLimit { limit: self.license.limit(&metric) }
    }

    #[napi(catch_unwind)]
    pub fn require_feature(&self, name: String) -> Result<()> {
        self.license.require_feature(&name).map_err(|refused| error(refused.into()))
    }

    #[napi(catch_unwind)]
    pub fn require_another(&self, metric: String, used: f64) -> Result<()> {
        let required = self.license.require_another(&metric, count("used", used)?);
        required.map_err(|refused| error(refused.into()))
    }

    #[napi(catch_unwind)]
    pub fn require_state(&self, states: Vec<String>) -> Result<()> {
        let find = |name: &String| {
            let state = LicenseState::ALL.iter().copied().find(|state| state.as_str() == name);
            state
                .ok_or_else(|| error(Failure::argument(format!("{name:?} is not a license state"))))
        };
        let states: Vec<_> = states.iter().map(find).collect::<Result<_>>()?;
        self.license.require_state(&states).map_err(|refused| error(refused.into()))
    }

    /// Returns the license as JSON, as the command `dp-verify` prints it.
    #[napi(catch_unwind)]
    pub fn json(&self) -> String {
        license_json(&self.license).to_string()
    }

    /// Returns the claims of the token as JSON.
    #[napi(catch_unwind)]
    pub fn claims(&self) -> String {
        json!(self.license.claims()).to_string()
    }
}
