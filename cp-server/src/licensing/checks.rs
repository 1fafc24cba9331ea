//! Checks: the steps by which a license or a token is judged, each with its result.

use schemars::JsonSchema;
use serde::Serialize;

crate::text_enum! {
    /// The result of a check.
    CheckStatus {
        Ok = "ok",
        /// The license works, and a person should look at this.
        Warn = "warn",
        Fail = "fail",
        /// An earlier check failed, or the subject does not exist.
        Skipped = "skipped",
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "InspectionCheck")]
pub struct Check {
    /// The name of the check. The checks of an answer are in a fixed order.
    pub name: &'static str,
    pub status: CheckStatus,
    /// What was found, in a few words.
    pub detail: String,
    /// What to do; absent when there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Ok, detail: detail.into(), fix: None }
    }

    pub fn warn(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Warn, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub fn fail(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Fail, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Skipped, detail: detail.into(), fix: None }
    }
}
