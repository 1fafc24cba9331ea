//! The one error of all bindings.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dp_verifier::{
    BuildError, FetchError, ImportError, LeaseError, LicenseState, NotEntitled, ReportError,
    VerifyError,
};
use serde::Serialize;

/// The kind of a failure, which bindings turn into a class of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A refused token or document.
    Refused,
    /// Settings or arguments that cannot be used.
    Settings,
    /// A request for keys, lists or the log, or a check-in, that failed.
    Fetch,
    /// A request about a lease that failed.
    Lease,
    /// A genuine license that does not entitle to an operation.
    NotEntitled,
    /// A fault of the binding itself.
    Internal,
}

/// A failure: a stable code, and a sentence about this case.
///
/// The sentence is safe for logs. It never contains a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The kind.
    pub kind: Kind,
    /// The code. Match on this member, never on the texts.
    pub code: String,
    /// The reason in this case.
    pub detail: String,
    /// The HTTP status for the response of a data plane.
    pub http_status: u16,
    /// Advice for the operator of the data plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
    /// The state of a genuine license that is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<LicenseState>,
}

impl Failure {
    fn new(kind: Kind, code: &str, detail: impl ToString, http_status: u16) -> Self {
        let (code, detail) = (code.to_owned(), detail.to_string());
        Self { kind, code, detail, http_status, advice: None, state: None }
    }

    /// Creates the failure `settings_invalid`.
    pub fn settings(detail: impl ToString) -> Self {
        Self::new(Kind::Settings, "settings_invalid", detail, 503)
    }

    /// Creates the failure `argument_invalid`.
    pub fn argument(detail: impl ToString) -> Self {
        Self::new(Kind::Settings, "argument_invalid", detail, 500)
    }

    /// Creates the failure `internal_error`.
    pub fn internal(detail: impl ToString) -> Self {
        Self::new(Kind::Internal, "internal_error", detail, 500)
    }

    /// Creates the failure of JSON that has the wrong form. Names unknown and missing members. Quotes no
    /// value, because a value may be a credential or a person.
    pub(crate) fn form(kind: fn(String) -> Self, name: &str, error: &serde_json::Error) -> Self {
        let detail = error.to_string();
        let has_no_value = ["unknown field", "missing field", "invalid length"];
        let detail = match has_no_value.iter().any(|start| detail.starts_with(start)) {
            true => detail.split(" at line ").next().unwrap_or_default(),
            false => "a value has the wrong type",
        };
        kind(format!("{name}: {detail}"))
    }

    /// Returns the failure as a JSON object with `"ok": false`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = value.as_object_mut() {
            members.insert("ok".to_owned(), false.into());
        }
        value
    }
}

/// Runs a function, whose panic becomes the failure `internal_error`.
///
/// # Errors
///
/// Returns the failure of the function, or `internal_error`.
pub fn guarded<T>(run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // The libraries do not use again what a panic leaves behind.
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Failure::internal("the library has a fault: a panic")))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Failure {}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        let code = error.code();
        let failure = Self::new(Kind::Refused, code.as_str(), error.detail(), code.http_status());
        Self { advice: Some(code.advice()), state: error.state(), ..failure }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let code = error.code();
        let failure = Self::new(Kind::Refused, code.as_str(), error.detail(), code.http_status());
        Self { advice: Some(code.advice()), ..failure }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let detail = error.to_string();
        match error {
            BuildError::BundleRefused { error, .. } => Self { detail, ..error.into() },
            _ => Self::settings(detail),
        }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::new(Kind::Fetch, "fetch_failed", error, 503)
    }
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        Self::new(Kind::Settings, "report_invalid", error, 500)
    }
}

impl From<NotEntitled> for Failure {
    fn from(error: NotEntitled) -> Self {
        Self::new(Kind::NotEntitled, error.code(), &error, 403)
    }
}

impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::License(error) => error.into(),
            LeaseError::Refused(refusal) => {
                let problem = &refusal.problem;
                Self::new(Kind::Lease, problem.code.as_str(), &problem.detail, problem.status)
            }
            error => Self::new(Kind::Lease, "unreachable", error, 503),
        }
    }
}

#[cfg(test)]
mod tests {
    use dp_verifier::ErrorCode;

    use super::guarded;
    use crate::{Failure, Settings};

    #[test]
    fn panic_becomes_a_failure() {
        let failure = guarded::<()>(|| panic!("a test"));
        assert_eq!(failure.map_err(|failure| failure.code), Err("internal_error".to_owned()));
    }

    #[test]
    fn refusal_has_code_status_and_advice() {
        let settings = r#"{"issuer":"https://cp.example","audience":"x","jwks":{"keys":[]}}"#;
        let verifier = Settings::from_json(settings).and_then(Settings::build);
        let refused = verifier.and_then(|verifier| verifier.verify("x"));
        let json = refused.map_or_else(|failure: Failure| failure.to_json(), |_| false.into());
        let code = ErrorCode::TokenMalformed;
        assert_eq!(json["ok"], false);
        assert_eq!((&json["code"], &json["kind"]), (&code.as_str().into(), &"refused".into()));
        assert_eq!(json["http_status"], code.http_status());
        assert_eq!(json["advice"], code.advice());
        assert!(json.get("state").is_none());
    }
}
