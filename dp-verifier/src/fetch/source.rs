//! Requests to one URL over HTTP.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::store::Stored;
use crate::files;
use crate::jws::Kind;
use crate::keys::MAX_SET;
use crate::tlog::{MAX_CHECKPOINT, MAX_PROOF};

/// The maximum duration of one request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which a server may wait for a change.
const WAIT: Duration = Duration::from_secs(25);

/// The bounds of the time for which a response is fresh, for any `max-age`, in seconds.
const MAX_AGE: std::ops::RangeInclusive<u64> = 60..=3_600;

/// The maximum size of a CA file, in bytes.
const MAX_CA: usize = 1024 * 1024;

/// The time for which a response without `max-age` is fresh, in seconds.
const DEFAULT_AGE: u64 = 300;

/// A kind of resource.
#[derive(Clone, Copy)]
pub(super) struct Resource {
    accept: &'static str,
    /// The maximum size of the response, in bytes.
    limit: usize,
}

pub(super) const KEY_SET: Resource =
    Resource { accept: "application/jwk-set+json, application/json", limit: MAX_SET };

pub(super) const STATUS_LIST: Resource =
    Resource { accept: cp_contracts::STATUS_LIST_MEDIA_TYPE, limit: Kind::STATUS_LIST.max };

pub(super) const CHECKPOINT: Resource = Resource { accept: "text/plain", limit: MAX_CHECKPOINT };

/// A proof, of inclusion or of consistency.
pub(super) const PROOF: Resource = Resource { accept: "text/plain", limit: MAX_PROOF };

pub(super) struct Source {
    agent: ureq::Agent,
    url: String,
    wanted: Resource,
    /// The last valid response, and its entity tag.
    good: Option<(Vec<u8>, Option<String>)>,
    max_age: u64,
    /// The `Authorization` with which the server waits for a change.
    waits_as: Option<String>,
    has_waited: bool,
    has_changed: bool,
}

pub(super) enum Answer {
    Unchanged,
    Body { body: Vec<u8>, etag: Option<String> },
}

impl Source {
    pub(super) fn new(url: &str, tls: Option<TlsConfig>, wanted: Resource) -> Result<Self, String> {
        Ok(Self {
            agent: agent(url, tls)?,
            url: url.to_owned(),
            wanted,
            good: None,
            max_age: DEFAULT_AGE,
            waits_as: None,
            has_waited: false,
            has_changed: false,
        })
    }

    /// Asks the server to answer when the resource differs from the last valid response.
    pub(super) fn waiting(mut self, authorization: String) -> Self {
        self.waits_as = Some(authorization);
        self
    }

    /// Returns whether the server waited before its last response.
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Returns whether the last response differs from the valid one before it.
    pub(super) fn has_changed(&self) -> bool {
        self.has_changed
    }

    pub(super) fn fetch(&mut self) -> Result<Answer, String> {
        let mut request = self.agent.get(&self.url).header(header::ACCEPT, self.wanted.accept);
        if let Some((_, Some(etag))) = &self.good {
            request = request.header(header::IF_NONE_MATCH, etag);
            if let Some(authorization) = &self.waits_as {
                request = request.header(header::AUTHORIZATION, authorization);
                request = request.header("prefer", format!("wait={}", WAIT.as_secs()));
                request =
                    request.config().timeout_global(Some(WAIT.saturating_add(TIMEOUT))).build();
            }
        }
        let failed = |error: ureq::Error| format!("{}: {error}", self.url);
        let mut response = request.call().map_err(failed)?;
        let (status, headers) = (response.status(), response.headers());
        let (max_age, has_waited) = (max_age(headers), headers.contains_key("preference-applied"));
        let answer = match status {
            StatusCode::NOT_MODIFIED if self.good.is_some() => Answer::Unchanged,
            StatusCode::OK => {
                let etag = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
                let etag = etag.map(str::to_owned);
                let limit = u64::try_from(self.wanted.limit).unwrap_or(u64::MAX);
                let body = response.body_mut().with_config().limit(limit).read_to_vec();
                Answer::Body { body: body.map_err(failed)?, etag }
            }
            status if status.is_redirection() => {
                return Err(format!("{}: redirects ({status}), which is not followed", self.url));
            }
            status => return Err(format!("{}: answers {status}", self.url)),
        };
        (self.max_age, self.has_waited) = (max_age, has_waited);
        self.has_changed = match &answer {
            Answer::Unchanged => false,
            Answer::Body { body, .. } => self.last_good() != Some(body.as_slice()),
        };
        Ok(answer)
    }

    /// Requests another URL of the same server. Returns `None` when the server says that the
    /// resource does not exist.
    pub(super) fn ask(&self, url: &str, wanted: Resource) -> Result<Option<Vec<u8>>, String> {
        let failed = |error: ureq::Error| format!("{url}: {error}");
        let request = self.agent.get(url).header(header::ACCEPT, wanted.accept);
        let mut response = request.call().map_err(failed)?;
        match response.status() {
            StatusCode::OK => {
                let limit = u64::try_from(wanted.limit).unwrap_or(u64::MAX);
                let body = response.body_mut().with_config().limit(limit).read_to_vec();
                body.map(Some).map_err(failed)
            }
            // These statuses come from the log. 401, 403 and 429 may come from a proxy.
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
            status => Err(format!("{url}: answers {status}")),
        }
    }

    /// Returns the time for which the last response is fresh.
    pub(super) fn max_age(&self) -> Duration {
        Duration::from_secs(self.max_age)
    }

    pub(super) fn remember(&mut self, body: Vec<u8>, etag: Option<String>) {
        self.good = Some((body, etag));
    }

    pub(super) fn last_good(&self) -> Option<&[u8]> {
        self.good.as_ref().map(|(body, _)| body.as_slice())
    }

    pub(super) fn stored(&self, body: &[u8], fetched_at: i64) -> Stored {
        Stored {
            url: self.url.clone(),
            fetched_at,
            etag: self.good.as_ref().and_then(|(_, etag)| etag.clone()),
            // A valid set is UTF-8.
            jwks: String::from_utf8_lossy(body).into_owned(),
        }
    }

    pub(super) fn is_of(&self, stored: &Stored) -> bool {
        stored.url == self.url
    }
}

/// Returns whether requests to both URLs reach the same server: scheme, host and port.
pub(super) fn is_same_server(one: &str, other: &str) -> bool {
    let server = |url: &str| {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_owned();
        let port = uri.port_u16().or(match &*scheme {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        });
        Some((scheme, uri.host()?.to_ascii_lowercase(), port?))
    };
    server(one).is_some_and(|one| Some(one) == server(other))
}

/// Creates a client for a URL, which must be https, or http on this machine.
pub(super) fn agent(url: &str, tls: Option<TlsConfig>) -> Result<ureq::Agent, String> {
    let uri: Uri = url.parse().map_err(|_| "the text is not a URL".to_owned())?;
    let host = uri.host().unwrap_or_default();
    let is_here = is_loopback(host);
    match uri.scheme_str() {
        _ if host.is_empty() => return Err("the URL has no host".to_owned()),
        _ if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            return Err("the URL must not contain a user name or password".to_owned());
        }
        Some("https") => {}
        Some("http") if is_here => {}
        Some("http") => {
            return Err("http is allowed on this machine only: use https".to_owned());
        }
        _ => return Err("the URL must begin with https://".to_owned()),
    }
    // Redirects are not followed: only this URL is trusted.
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("dp-verifier/", env!("CARGO_PKG_VERSION")));
    let config = if is_here { config.proxy(None) } else { config };
    let config = match tls {
        Some(tls) => config.tls_config(tls),
        None => config,
    };
    Ok(config.build().into())
}

/// Creates a TLS configuration that trusts only the authorities in a PEM file.
pub(super) fn trusting(path: &Path) -> Result<TlsConfig, String> {
    let failed = |why: String| format!("the CA file {}: {why}", path.display());
    let pem = files::read(path, MAX_CA).map_err(|error| failed(error.to_string()))?;
    if pem.len() > MAX_CA {
        return Err(failed(format!("has more than {MAX_CA} bytes")));
    }
    let mut certificates = Vec::new();
    for item in parse_pem(files::trimmed_bytes(&pem)) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => return Err(failed("must have certificates only".to_owned())),
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    if certificates.is_empty() {
        return Err(failed("has no certificate in PEM".to_owned()));
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::from(certificates)).build())
}

/// Returns whether requests to a host stay on this machine.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host == "[::1]"
        || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

/// Returns `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1), within the bounds.
fn max_age(headers: &HeaderMap) -> u64 {
    let control = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let directives = control.unwrap_or_default().split(',').map(str::trim);
    let seconds = directives
        .filter_map(|directive| directive.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("max-age"))
        .and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok());
    seconds.unwrap_or(DEFAULT_AGE).clamp(*MAX_AGE.start(), *MAX_AGE.end())
}

#[cfg(test)]
mod tests {
    use super::{KEY_SET, Source, is_same_server, max_age, trusting};

    #[test]
    fn server_is_scheme_host_and_port() {
        let one = "https://cp.example/api/v1/deployments/x/check-in";
        for same in ["https://cp.example/", "https://CP.example:443/status-lists/1"] {
            assert!(is_same_server(one, same), "{same}");
        }
        for other in [
            "http://cp.example/",
            "https://cp.example:8443/",
            "https://cp.example.evil/",
            "https://cp.example@evil.example/",
            "cp.example",
            "",
        ] {
            assert!(!is_same_server(one, other), "{other}");
        }
        assert!(!is_same_server("", ""));
    }

    #[test]
    fn urls_are_https_or_of_this_machine() {
        for url in [
            "https://cp.example/jwks.json",
            "https://127.0.0.1:8443/",
            "http://localhost:8801/.well-known/jwks.json",
            "http://127.0.0.1/",
            "http://[::1]:8801/",
        ] {
            assert!(Source::new(url, None, KEY_SET).is_ok(), "{url}");
        }
        for url in [
            "http://cp.example/jwks.json",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example/",
            "http://127.0.0.1@evil.example/",
            "https://user:password@cp.example/",
            "ftp://cp.example/",
            "file:///etc/passwd",
            "/jwks.json",
            "https://",
            "",
        ] {
            assert!(Source::new(url, None, KEY_SET).is_err(), "{url}");
        }
    }

    #[test]
    fn a_ca_file_has_certificates_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(trusting(&path).is_err());
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        for pem in ["", "no PEM", key, broken] {
            std::fs::write(&path, pem).unwrap();
            assert!(trusting(&path).is_err(), "{pem}");
        }
        let good = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, good).unwrap();
        assert!(trusting(&path).is_ok());
    }

    #[test]
    fn max_age_is_kept_within_bounds() {
        let age = |control: &str| {
            max_age(
                &[(ureq::http::header::CACHE_CONTROL, control.parse().unwrap())]
                    .into_iter()
                    .collect(),
            )
        };
        assert_eq!(age("public, max-age=600"), 600);
        assert_eq!(age("Max-Age=\"600\""), 600);
        assert_eq!(age("max-age=1"), 60);
        assert_eq!(age("max-age=99999999"), 3_600);
        assert_eq!(age("no-store"), 300);
        assert_eq!(age("max-age=-1"), 300);
    }
}
