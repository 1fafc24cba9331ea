//! Requests to the control plane's API.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use cp_contracts::{Problem, ProblemCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{HeaderMap, Method, StatusCode, header};

use super::credential::Credential;
use super::source;

/// The maximum size of a response, in bytes: that to a check-in has a token and its claims.
const MAX_BODY: u64 = 512 * 1024;

/// The maximum of `Retry-After` that counts.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The refusal of a request by the control plane.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The problem document. Match on its `code`.
    pub problem: Problem,
    /// The time after which another attempt may succeed, if the server names it.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Returns the reason for the refusal.
    #[must_use]
    pub fn code(&self) -> &ProblemCode {
        &self.problem.code
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem.code, self.problem.detail)
    }
}

/// The reason why a request has no result.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The control plane refused the request.
    Refused(Box<Refusal>),
    /// There was no answer of the control plane.
    Unreachable(String),
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Unreachable(why) => f.write_str(why),
        }
    }
}

/// The API of a control plane, with a credential.
pub(crate) struct Api {
    agent: ureq::Agent,
    base: String,
    authorization: String,
}

impl Api {
    /// Creates the API at a base URL, such as `https://cp.example/api/v1`. A file may name the only
    /// trusted authorities.
    pub(crate) fn new(
        base: &str,
        credential: &Credential,
        ca: Option<&Path>,
    ) -> Result<Self, String> {
        let tls = ca.map(source::trusting).transpose()?;
        let agent = source::agent(base, tls).map_err(|why| format!("{base}: {why}"))?;
        Ok(Self { agent, base: base.to_owned(), authorization: credential.header() })
    }

    /// Sends a request; a `DELETE` has no body. Returns `None` for a response without content.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> Result<Option<T>, ApiError> {
        let url = format!("{}{path}", self.base);
        let failed = |why: &dyn fmt::Display| ApiError::Unreachable(format!("{url}: {why}"));
        let accept = "application/json, application/problem+json";
        let response = match *method {
            Method::DELETE => {
                let request = self.agent.delete(&url).header(header::ACCEPT, accept);
                request.header(header::AUTHORIZATION, &self.authorization).call()
            }
            _ => {
                let is_put = *method == Method::PUT;
                let request = if is_put { self.agent.put(&url) } else { self.agent.post(&url) };
                let request = request.header(header::ACCEPT, accept);
                let request = request.header(header::AUTHORIZATION, &self.authorization);
                request.header(header::CONTENT_TYPE, "application/json").send(body.to_string())
            }
        };
        let mut response = response.map_err(|error| failed(&error))?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let text = response.body_mut().with_config().limit(MAX_BODY).read_to_vec();
        let text = text.map_err(|error| failed(&error))?;
        if status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        if status.is_success() {
            let read = serde_json::from_slice(&text);
            return read.map(Some).map_err(|error| failed(&error));
        }
        // An error without a problem document comes from a proxy, not from the control plane.
        match serde_json::from_slice::<Problem>(&text) {
            Ok(problem) if problem.status == status.as_u16() => {
                Err(ApiError::Refused(Box::new(Refusal { problem, retry_after })))
            }
            _ => Err(failed(&format!("answers {status}"))),
        }
    }
}

/// Returns `Retry-After` in seconds (RFC 9110 §10.2.3). The form with a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
