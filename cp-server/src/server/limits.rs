//! What a request may weigh and how long it may take, before anybody looks at what it asks for.

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
/// What the parser takes, which is more: between the two, the refusal is ours and has words.
pub const HEADER_BUFFER: usize = 64 * 1024;

/// How much of the server one network may take.
#[derive(Clone, Debug)]
pub struct Surface {
    /// Open connections.
    pub connections: usize,
    /// Open connections of one address (IPv6: of one /64); trusted proxies are not counted.
    pub connections_per_address: usize,
    /// For a TLS handshake, and for the head of a request; also how long a connection may be idle.
    pub header_time: Duration,
    /// For a request, its body included, until its answer begins.
    pub request_time: Duration,
    /// For which a client may take nothing of its answer.
    pub write_time: Duration,
    /// Bytes a second that a client must take of an answer, on average over twice `write_time`.
    pub write_rate: u32,
    /// Who may say on whose behalf a request comes.
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

/// Whether the request line and the headers are such that the request is looked at.
pub(super) fn check(request: &Request) -> Result<()> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > URI_LIMIT {
        let detail = format!("The request target has {target} bytes; it takes {URI_LIMIT}.");
        return Err(Error::new(ProblemCode::UriTooLong, detail));
    }
    let headers = request.headers();
    let size: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > HEADER_LIMIT {
        let detail = format!("The headers have {size} bytes; it takes {HEADER_LIMIT}.");
        return Err(Error::new(ProblemCode::HeadersTooLarge, detail));
    }
    for name in [header::CONTENT_TYPE, header::AUTHORIZATION, header::CONTENT_ENCODING] {
        if count(headers, &name) > 1 {
            let detail = format!("The header {name} is given more than once.");
            return Err(Error::bad_request(detail));
        }
    }
    let plain = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| !plain(value)) {
        let detail = "Send the body as it is: no Content-Encoding is taken.";
        return Err(Error::new(ProblemCode::UnsupportedMediaType, detail));
    }
    // RFC 9112, section 3.2. Calls inside the process have no host to name.
    if request.extensions().get::<Peer>().is_some()
        && request.version() == Version::HTTP_11
        && count(headers, &header::HOST) != 1
    {
        return Err(Error::bad_request("Send one header Host (RFC 9112, section 3.2)."));
    }
    Ok(())
}

fn count(headers: &HeaderMap, name: &HeaderName) -> usize {
    headers.get_all(name).iter().count()
}

/// Words for what the framework refuses by itself.
pub(super) fn framework_refusal(status: StatusCode) -> Error {
    let code = match status {
        StatusCode::NOT_FOUND => {
            return Error::new(ProblemCode::NotFound, "There is no such path; see /docs.");
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            return Error::new(
                ProblemCode::MethodNotAllowed,
                "This path does not take this method; the Allow header lists those it takes.",
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
