//! Failures of calls to the management API.
//!
//! # Design
//! The provider's texts are another party's, and localized. They are shown, cut to a line, and never
//! compared: the status alone decides. A provider may repeat what it received, so the credentials of
//! this run are removed from every text.

use axum::http::StatusCode;
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::kernel::error::Error;
use crate::kernel::http::json;
use crate::kernel::text::is_hidden;

/// The most characters of a provider's message.
const LONGEST: usize = 200;

/// The refusal of the provider, or the reason why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProviderError {
    /// The HTTP status; null without an answer.
    pub status: Option<u16>,
    /// The provider's code, such as `permission_denied`; null without one.
    pub code: Option<String>,
    /// At most 200 characters, in the provider's language.
    pub message: String,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub enum Failure {
    Provider(ProviderError),
    /// The time of the run has ended before the call.
    OutOfTime,
}

impl Failure {
    /// Returns the failure of a call without a usable answer.
    pub fn of(status: Option<StatusCode>, code: Option<&str>, message: &str) -> Self {
        Self::Provider(ProviderError {
            status: status.map(|status| status.as_u16()),
            code: code.map(str::to_owned),
            message: shown(message, &[]),
        })
    }

    /// Reads the refusal of the provider.
    pub fn refused(status: StatusCode, body: &[u8], secrets: &[&str]) -> Self {
        let body = json::strict(body).unwrap_or_default();
        // OAuth 2.0 (RFC 6749, section 5.2) has its own names.
        let text = |names: [&str; 2]| names.iter().find_map(|name| body.get(*name)?.as_str());
        let message = text(["message", "error_description"]).unwrap_or_default();
        let message = match shown(message, secrets) {
            empty if empty.is_empty() => format!("The provider answered {status}."),
            message => message,
        };
        let named = text(["code", "error"]).filter(|code| is_code(code)).map(str::to_owned);
        let code = named.or_else(|| body.get("code")?.as_u64().map(grpc_name));
        // A provider that repeats a credential as its code gets none.
        let code = code.filter(|code| !secrets.contains(&code.as_str()));
        Self::Provider(ProviderError { status: Some(status.as_u16()), code, message })
    }

    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Provider(error) if error.status == Some(409))
    }

    /// Whether the server does not know the call. Its own refusals have a code.
    pub fn is_unknown_call(&self) -> bool {
        let Self::Provider(error) = self else { return false };
        matches!(error.status, Some(404 | 405 | 501))
            && error.code.as_deref().is_none_or(|code| code == "unimplemented")
    }

    /// Returns the error of a run that this failure ends: 502.
    pub fn into_error(self) -> Error {
        let error = match self {
            Self::Provider(error) => error,
            Self::OutOfTime => ProviderError {
                status: None,
                code: None,
                message: "The provider was too slow.".to_owned(),
            },
        };
        let answered = match error.status {
            Some(status) => format!("answered {status}"),
            None => "cannot be reached".to_owned(),
        };
        let detail = format!("The identity provider {answered}: {}", error.message);
        Error::new(ProblemCode::ProviderFailed, detail)
            .with("provider_status", error.status)
            .with("provider_code", error.code)
    }
}

/// Returns a text of the provider as one line, without the credentials, cut.
fn shown(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[removed]");
    }
    let visible = text.chars().map(|c| if is_hidden(c) { ' ' } else { c });
    visible.take(LONGEST).collect::<String>().trim().to_owned()
}

fn is_code(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Returns the name of a gRPC status code, as version 2 of the API writes it.
fn grpc_name(code: u64) -> String {
    let name = match code {
        3 => "invalid_argument",
        5 => "not_found",
        6 => "already_exists",
        7 => "permission_denied",
        8 => "resource_exhausted",
        9 => "failed_precondition",
        14 => "unavailable",
        16 => "unauthenticated",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> ProviderError {
        let status = StatusCode::from_u16(status).unwrap();
        let secrets = ["canary-token", "canary"];
        let Failure::Provider(error) = Failure::refused(status, body.as_bytes(), &secrets) else {
            panic!("the provider refused")
        };
        error
    }

    #[test]
    fn refusals_of_both_versions_are_read_alike() {
        let error = |code: &str, message: &str| ProviderError {
            status: Some(409),
            code: Some(code.to_owned()),
            message: message.to_owned(),
        };
        let expected = error("already_exists", "Роль уже существует (V3-DKcYh)");
        let v1 = r#"{"code":6,"message":"Роль уже существует (V3-DKcYh)","details":[]}"#;
        assert_eq!(read(409, v1), expected);
        let v2 = r#"{"code":"already_exists","message":"Роль уже существует (V3-DKcYh)"}"#;
        assert_eq!(read(409, v2), expected);
        let oauth = r#"{"error":"invalid_client","error_description":"client not found"}"#;
        assert_eq!(read(401, oauth).code.as_deref(), Some("invalid_client"));
        assert_eq!(read(401, oauth).message, "client not found");
        assert_eq!(read(502, "<html>").message, "The provider answered 502 Bad Gateway.");
        let twice = r#"{"code":"a","code":"b","message":"x"}"#;
        assert_eq!(read(400, twice).code, None, "a duplicate member");
        assert_eq!(read(400, r#"{"code":"Not A Code","message":7}"#).code, None);
    }

    #[test]
    fn message_is_one_short_line_without_credentials() {
        let body = serde_json::json!({
            "code": "canary", "message": format!("a\n\u{202e}canary-token {}", "x".repeat(300)),
        });
        let error = read(400, &body.to_string());
        assert_eq!(error.code, None);
        assert_eq!(error.message.chars().count(), 200);
        assert!(error.message.starts_with("a  [removed] xxx"), "{}", error.message);
    }
}
