//! Requests to other servers, such as identity providers: limited in size, time and destination.
//!
//! # Design
//! An organization's admin chooses the address of these requests, so strangers must not be able to
//! misuse them. They use https only, no redirects and no proxy. They reach no address of this
//! server's machine or network. The name is resolved once, and the connection uses the checked
//! addresses, so a name that changes in between gains nothing.

mod addresses;
#[cfg(feature = "otlp")]
pub mod collecting;
pub mod mailing;
pub mod posting;
pub mod proxies;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Request, StatusCode, Uri, header};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use ureq::AsSendBody;
use ureq::config::{Config, ConfigBuilder};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use self::addresses::is_public;
use self::proxies::Proxy;
use crate::kernel::traces::Span;

/// The largest answer, in bytes.
const LARGEST: u64 = 64 * 1024;
/// The longest URL, in bytes.
const LONGEST_URL: usize = 2048;
/// The number of concurrent requests: each holds a thread as long as its provider is slow.
const AT_ONCE: usize = 16;

/// The permitted destinations of requests.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// Hosts with private addresses that an organization's provider may have.
    pub allowed_hosts: Vec<String>,
    /// Whether providers may be on this machine and use plain http: for development and tests.
    pub allow_loopback: bool,
    /// The certificate authorities to trust, instead of the public ones.
    pub authorities: Option<Arc<Vec<Certificate<'static>>>>,
    /// The proxy of messages.
    pub proxy: Option<Proxy>,
    /// The longest time for an answer, from the look-up of the name to its last byte.
    pub timeout: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allow_loopback: false,
            authorities: None,
            proxy: None,
            timeout: Duration::from_secs(5),
        }
    }
}

impl FetchSettings {
    /// Returns whether a request may go to these addresses of a host. One private address among public
    /// ones is an attack, too.
    fn permits(
        &self,
        chosen_by: ChosenBy,
        host: &str,
        mut addresses: impl Iterator<Item = IpAddr>,
    ) -> bool {
        let is_allowed = || self.allowed_hosts.iter().any(|one| one.eq_ignore_ascii_case(host));
        let may =
            |ip: IpAddr| is_public(ip) || self.allow_loopback && ip.to_canonical().is_loopback();
        chosen_by == ChosenBy::Operator || is_allowed() || addresses.all(may)
    }

    /// Checks that this server may send requests, or people, to the URL.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn check(&self, url: &str) -> Result<(), String> {
        if url.len() > LONGEST_URL || url.chars().any(char::is_control) {
            return Err(format!("the URL has {} bytes, or contains control characters", url.len()));
        }
        let parsed = url::Url::parse(url).map_err(|_| "the value is not a URL".to_owned())?;
        let host = parsed.host_str().unwrap_or_default();
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(format!("{host}: the URL must not contain a user or password"));
        }
        let plain = parsed.scheme() == "http" && self.allow_loopback && is_loopback(host);
        if parsed.scheme() != "https" && !plain {
            return Err(format!("{url} is not an https URL"));
        }
        Ok(())
    }
}

/// The person who chose the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChosenBy {
    /// The operator, who may name any host.
    Operator,
    /// An organization's admin, who must not reach this server's network.
    Organization,
}

/// The answer of a provider.
#[derive(Debug)]
pub struct Fetched {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// `max-age` of `Cache-Control`, in seconds.
    pub max_age: Option<i64>,
    /// `Retry-After`, if it is a number of seconds.
    pub retry_after: Option<Duration>,
}

/// A request without an answer.
#[derive(Debug)]
pub struct Unanswered {
    /// The reason, described for an operator.
    pub why: String,
    /// Whether the connection broke, so that another attempt may succeed.
    pub is_broken: bool,
}

impl Unanswered {
    fn new(why: String) -> Self {
        Self { why, is_broken: false }
    }
}

/// The client for requests to other servers.
pub struct Fetcher {
    settings: FetchSettings,
    /// The agents for addresses that the operator chose, and for those that organizations chose.
    agents: [ureq::Agent; 2],
    /// One limit for each agent, so that slow providers of organizations delay no others.
    rooms: [Arc<Semaphore>; 2],
}

impl Fetcher {
    pub fn new(settings: &FetchSettings) -> Self {
        let agent = |chosen_by| {
            let config = client(settings.authorities.clone())
                .timeout_global(Some(settings.timeout))
                .max_idle_connections(0)
                .build();
            let resolver = CheckedResolver {
                inner: DefaultResolver::default(),
                chosen_by,
                settings: settings.clone(),
            };
            ureq::Agent::with_parts(config, DefaultConnector::new(), resolver)
        };
        Self {
            settings: settings.clone(),
            agents: [agent(ChosenBy::Operator), agent(ChosenBy::Organization)],
            rooms: [(); 2].map(|()| Arc::new(Semaphore::new(AT_ONCE))),
        }
    }

    /// Fetches a document. Another status than 200 is a failure, described for an operator.
    pub async fn get(&self, url: &str, chosen_by: ChosenBy) -> Result<Fetched, String> {
        self.check(url)?;
        let request = Request::get(url).header(header::ACCEPT, "application/json").body(());
        let request = request.map_err(|_| format!("{url} is not a URL"))?;
        let fetched = self.run(url, chosen_by, request).await;
        let fetched = fetched.map_err(|unanswered| unanswered.why)?;
        match fetched.status {
            StatusCode::OK => Ok(fetched),
            status if status.is_redirection() => {
                Err(format!("{url} answered {status}; redirects are not followed"))
            }
            status => Err(format!("{url} answered {status}")),
        }
    }

    /// Sends a form and returns the answer with any status. A failure is described for an operator.
    pub async fn post_form(
        &self,
        url: &str,
        chosen_by: ChosenBy,
        form: String,
        authorization: Option<String>,
    ) -> Result<Fetched, String> {
        let form_type = "application/x-www-form-urlencoded";
        let mut request = Request::post(url).header(header::CONTENT_TYPE, form_type);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(form).map_err(|_| format!("{url} is not a URL"))?;
        self.send(request, chosen_by).await.map_err(|unanswered| unanswered.why)
    }

    /// Sends a request with its own method, headers and body, and returns the answer with any status.
    pub async fn send(
        &self,
        mut request: Request<String>,
        chosen_by: ChosenBy,
    ) -> Result<Fetched, Unanswered> {
        let url = request.uri().to_string();
        self.check(&url).map_err(Unanswered::new)?;
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::ACCEPT, json);
        self.run(&url, chosen_by, request).await
    }

    /// Checks that this server may send requests, or people, to the URL.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn check(&self, url: &str) -> Result<(), String> {
        self.settings.check(url)
    }

    /// Sends a request that may be sent.
    async fn run<B: AsSendBody + Send + 'static>(
        &self,
        url: &str,
        chosen_by: ChosenBy,
        mut request: Request<B>,
    ) -> Result<Fetched, Unanswered> {
        let span = Span::outgoing(request.method().as_str(), url);
        span.forward(request.headers_mut());
        let fetched = self.answer(url, chosen_by, request).await;
        match &fetched {
            Ok(fetched) => span.answer(fetched.status),
            Err(_) => span.fail("connection", true),
        }
        fetched
    }

    async fn answer<B: AsSendBody + Send + 'static>(
        &self,
        url: &str,
        chosen_by: ChosenBy,
        request: Request<B>,
    ) -> Result<Fetched, Unanswered> {
        let agent = self.agents[chosen_by as usize].clone();
        let timeout = self.settings.timeout;
        let waiting =
            tokio::time::timeout(timeout, self.rooms[chosen_by as usize].clone().acquire_owned());
        let Ok(Ok(room)) = waiting.await else {
            let why = format!("{url} was not requested: too many providers are slow");
            return Err(Unanswered::new(why));
        };
        let asked = spawn_blocking(move || {
            let _room = room;
            let (parts, mut body) = agent.run(request)?.into_parts();
            let retry_after = match RetryAfter::of(&parts.headers) {
                Some(RetryAfter::Wait(wait)) => wait.to_std().ok(),
                _ => None,
            };
            let max_age = max_age(&parts.headers);
            let body = body.with_config().limit(LARGEST).read_to_vec()?;
            Ok::<_, ureq::Error>(Fetched { status: parts.status, body, max_age, retry_after })
        });
        let error = match asked.await {
            Ok(Ok(fetched)) => return Ok(fetched),
            Ok(Err(error)) => error,
            Err(_) => return Err(Unanswered::new(format!("{url} was not read"))),
        };
        let is_broken = matches!(error, ureq::Error::Io(_) | ureq::Error::ConnectionFailed);
        let why = match error {
            ureq::Error::BodyExceedsLimit(_) => {
                format!("{url} answered with more than {LARGEST} bytes")
            }
            ureq::Error::Timeout(_) => {
                format!("{url} did not answer within {} seconds", timeout.as_secs_f32())
            }
            error => format!("{url} cannot be read: {error}"),
        };
        Err(Unanswered { why, is_broken })
    }
}

/// Returns what every client has in common: any status is an answer, no redirect, no proxy. `authorities`
/// replace the public ones.
pub fn client(authorities: Option<Arc<Vec<Certificate<'static>>>>) -> ConfigBuilder<AgentScope> {
    let roots = authorities.map_or(RootCerts::WebPki, RootCerts::Specific);
    Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .max_response_header_size(16 * 1024)
        .user_agent("license-authority")
        .tls_config(TlsConfig::builder().root_certs(roots).build())
}

fn max_age(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(header::CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let age = text.split(',').find_map(|part| part.trim().strip_prefix("max-age="))?;
    age.trim_matches('"').parse().ok()
}

/// `Retry-After` (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Wait(TimeDelta),
    Date(DateTime<Utc>),
}

impl RetryAfter {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse::<u32>() {
            return Some(Self::Wait(TimeDelta::seconds(seconds.into())));
        }
        // The preferred form of a date, `Sun, 06 Nov 1994 08:49:37 GMT`, is one of RFC 2822.
        DateTime::parse_from_rfc2822(text).ok().map(|date| Self::Date(date.to_utc()))
    }

    /// Returns the time to wait from this instant on; negative for a date that has passed.
    pub fn from(self, now: DateTime<Utc>) -> TimeDelta {
        match self {
            Self::Wait(wait) => wait,
            Self::Date(date) => date - now,
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A resolver that refuses addresses outside the permitted destinations.
#[derive(Debug)]
struct CheckedResolver {
    inner: DefaultResolver,
    chosen_by: ChosenBy,
    settings: FetchSettings,
}

impl Resolver for CheckedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default();
        if self.settings.permits(self.chosen_by, host, found.iter().map(|address| address.ip())) {
            return Ok(found);
        }
        let refusal = "its address is not public; an operator can allow the host with \
                       CP_OIDC_ALLOWED_HOSTS";
        Err(ureq::Error::Other(refusal.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = "1994-11-06T08:48:37Z".parse().unwrap();
        let wait = |text: &'static str| {
            let value = header::HeaderValue::from_static(text);
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value)]);
            RetryAfter::of(&headers).map(|after| after.from(now).num_seconds())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(60));
        assert_eq!(wait("Sun, 06 Nov 1994 08:47:37 GMT"), Some(-60));
        for bad in ["", "-1", "1.5", "soon", "Sun, 06 Nov 1994"] {
            assert_eq!(wait(bad), None, "{bad}");
        }
    }
}
