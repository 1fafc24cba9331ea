//! Limits on the size and the duration of a request, checked before its content.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, Version, header};
use cp_contracts::ProblemCode;

use super::proxies::Proxies;
use crate::kernel::access::caller::Peer;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};

pub const URI_LIMIT: usize = 8 * 1024;
pub const HEADER_LIMIT: usize = 32 * 1024;
/// The parser's limit, which is higher: between the two limits, the response is a problem document.
pub const HEADER_BUFFER: usize = 64 * 1024;

/// The share of the server that one network may use.
#[derive(Clone, Debug)]
pub struct Surface {
    /// The maximum number of open connections.
    pub connections: usize,
    /// The maximum per address (IPv6: per /64); trusted proxies are not counted.
    pub connections_per_address: usize,
    /// The timeout of a TLS handshake, of a request head, and of an idle connection.
    pub header_time: Duration,
    /// The timeout of a request, including its body, until its response begins.
    pub request_time: Duration,
    /// How long a client may stall while it receives a response.
    pub write_time: Duration,
    /// The minimum rate in bytes per second at which a client must receive a response, averaged
    /// over twice `write_time`.
    pub write_rate: u32,
    /// The proxies whose forwarding headers are trusted.
    pub proxies: Proxies,
}

impl Part for Surface {}

impl Default for Surface {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 512,
            header_time: Duration::from_secs(10),
            request_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            write_rate: 8 * 1024,
            proxies: Proxies::default(),
        }
    }
}

/// Checks the request line and the headers against their limits.
pub(super) fn check(request: &Request) -> Result<()> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > URI_LIMIT {
        let detail =
            format!("The request target must have at most {URI_LIMIT} bytes (got {target}).");
        return Err(Error::new(ProblemCode::UriTooLong, detail));
    }
    let headers = request.headers();
    let size: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > HEADER_LIMIT {
        let detail = format!("The headers must have at most {HEADER_LIMIT} bytes (got {size}).");
        return Err(Error::new(ProblemCode::HeadersTooLarge, detail));
    }
    for name in [header::CONTENT_TYPE, header::AUTHORIZATION, header::CONTENT_ENCODING] {
        if count(headers, &name) > 1 {
            let detail = format!("The header `{name}` must be sent at most once.");
            return Err(Error::bad_request(detail));
        }
    }
    let plain = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| !plain(value)) {
        let detail = "Send the body without a Content-Encoding; encoded bodies are not accepted.";
        return Err(Error::new(ProblemCode::UnsupportedMediaType, detail));
    }
    // RFC 9112, section 3.2. Calls inside the process have no host.
    if request.extensions().get::<Peer>().is_some()
        && request.version() == Version::HTTP_11
        && count(headers, &header::HOST) != 1
    {
        return Err(Error::bad_request("Send exactly one Host header (RFC 9112, section 3.2)."));
    }
    Ok(())
}

fn count(headers: &HeaderMap, name: &HeaderName) -> usize {
    headers.get_all(name).iter().count()
}

/// Returns the error for a refusal of the framework.
pub(super) fn framework_refusal(status: StatusCode, base_path: &str) -> Error {
    let code = match status {
        StatusCode::NOT_FOUND => {
            let detail = format!("There is no such path; {base_path}/docs lists all paths.");
            return Error::new(ProblemCode::NotFound, detail);
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            return Error::new(
                ProblemCode::MethodNotAllowed,
                "This path does not support this method; the Allow header lists the supported ones.",
            );
        }
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::TooLarge,
        StatusCode::URI_TOO_LONG => ProblemCode::UriTooLong,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ProblemCode::HeadersTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemCode::UnsupportedMediaType,
        StatusCode::REQUEST_TIMEOUT => ProblemCode::Timeout,
        _ if status.is_server_error() => {
            return Error::internal(anyhow::anyhow!("framework: {status}"));
        }
        _ => return Error::bad_request("The request is not well-formed."),
    };
    let detail = format!("{}.", code.title());
    Error::new(code, detail)
}
