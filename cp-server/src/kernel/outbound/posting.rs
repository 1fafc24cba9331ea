//! Messages to other servers: one POST each, limited in size, time and destination.
//!
//! # Design
//! A receiver may be slow or hostile, and many are asked at once. So a message needs a task and no
//! thread, and a connection of its own. The name is resolved once; every address must be permitted, and
//! the checked address is the one that is dialled. No redirect is followed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::proxies::Proxy;
use super::{ChosenBy, FetchSettings, RetryAfter};
use crate::kernel::traces::{Span, Tracing};

/// The time for the whole message, until the status of the answer.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// The time for the rest of the answer, which nothing depends on.
const READING: Duration = Duration::from_secs(2);
/// The most bytes of the answer that are read, of its head and of its body.
const LARGEST: usize = 16 * 1024;
/// Ports of mail servers, databases and shells: a message to them could be a command.
const REFUSED_PORTS: [u16; 23] = [
    22, 23, 25, 53, 110, 143, 389, 445, 465, 587, 636, 993, 995, 1433, 1521, 2049, 2375, 3306,
    5432, 6379, 9200, 11211, 27017,
];

/// A message.
pub struct Message {
    pub url: String,
    pub chosen_by: ChosenBy,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The answer to a message.
#[derive(Debug)]
pub struct Receipt {
    pub status: StatusCode,
    pub retry_after: Option<RetryAfter>,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

crate::text_enum! {
    /// The reason for which a message was not delivered.
    DeliveryError {
        /// The name of the host was not resolved.
        Dns = "dns",
        /// The address is not permitted.
        RefusedAddress = "refused_address",
        /// The connection failed, or broke.
        Connect = "connect",
        /// The certificate is not valid, or the handshake failed.
        Tls = "tls",
        /// No answer came in time.
        Timeout = "timeout",
        /// The status of the answer is not one of success.
        Status = "status",
        /// The answer is a redirect, which is not followed.
        Redirect = "redirect",
        /// The head of the answer is too large.
        TooLarge = "too_large",
        /// No e-mail address may get messages yet.
        Unconfirmed = "unconfirmed",
    }
}

/// The client for messages.
pub struct Poster {
    settings: FetchSettings,
    tls: TlsConnector,
}

impl Poster {
    pub fn new(settings: FetchSettings) -> Self {
        let mut roots = RootCertStore::empty();
        match &settings.authorities {
            Some(own) => {
                let own = own.iter().map(|one| CertificateDer::from(one.der().to_vec()));
                roots.add_parsable_certificates(own);
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider supports both versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { settings, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Checks a URL before a message is sent.
    ///
    /// # Errors
    /// The reason of the refusal, as a predicate.
    pub fn check(&self, url: &str, chosen_by: ChosenBy) -> Result<(), String> {
        self.settings.check(url)?;
        let parsed = Url::parse(url).map_err(|_| "is not a URL".to_owned())?;
        if let Some(port) = parsed.port().filter(|port| REFUSED_PORTS.contains(port)) {
            return Err(format!("the port {port} belongs to another protocol"));
        }
        if parsed.fragment().is_some() {
            return Err("the URL must not have a fragment".to_owned());
        }
        let ip = match parsed.host() {
            Some(Host::Ipv4(ip)) => Some(ip.into()),
            Some(Host::Ipv6(ip)) => Some(ip.into()),
            _ => None,
        };
        let host = parsed.host_str().unwrap_or_default();
        match ip.is_none_or(|ip| self.permits(chosen_by, host, &[ip])) {
            true => Ok(()),
            false => Err(format!("{host} is not a public address")),
        }
    }

    /// Returns whether a message may go to these addresses of a host. The platform's endpoints and the
    /// allowed hosts may be private, but this machine has services that trust every local caller.
    fn permits(&self, chosen_by: ChosenBy, host: &str, ips: &[IpAddr]) -> bool {
        let is_local = |ip: &IpAddr| {
            let ip = ip.to_canonical();
            ip.is_loopback() || ip.is_unspecified()
        };
        (self.settings.allow_loopback || !ips.iter().any(is_local))
            && self.settings.permits(chosen_by, host, ips.iter().copied())
    }

    /// Sends a message and returns the answer with any status.
    pub async fn post(&self, mut message: Message) -> Result<Receipt, DeliveryError> {
        let span = Span::outgoing("POST", &message.url);
        span.forward(&mut message.headers);
        let answered = self.answer(message).within(span.clone()).await;
        match &answered {
            Ok(receipt) => span.answer(receipt.status),
            Err(error) => span.fail(error.as_str(), true),
        }
        answered
    }

    async fn answer(&self, message: Message) -> Result<Receipt, DeliveryError> {
        let end = Instant::now() + PATIENCE;
        self.check(&message.url, message.chosen_by).map_err(|_| DeliveryError::RefusedAddress)?;
        let url = Url::parse(&message.url).map_err(|_| DeliveryError::RefusedAddress)?;
        let sent = timeout_at(end, self.send(&url, message));
        sent.await.unwrap_or(Err(DeliveryError::Timeout))
    }

    async fn send(&self, url: &Url, message: Message) -> Result<Receipt, DeliveryError> {
        let addresses = resolve(url).await?;
        let host = url.host_str().unwrap_or_default();
        let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        if !self.permits(message.chosen_by, host, &ips) {
            return Err(DeliveryError::RefusedAddress);
        }
        let stream = connect(&addresses, self.settings.proxy.as_ref()).await?;
        if url.scheme() != "https" {
            return exchange(stream, url, message).await;
        }
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|_| DeliveryError::Tls)?;
        let stream = self.tls.connect(name, stream).await.map_err(|_| DeliveryError::Tls)?;
        exchange(stream, url, message).await
    }
}

async fn resolve(url: &Url) -> Result<Vec<SocketAddr>, DeliveryError> {
    let port = url.port_or_known_default().ok_or(DeliveryError::Dns)?;
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(ip)) => vec![SocketAddr::new(ip.into(), port)],
        Some(Host::Ipv6(ip)) => vec![SocketAddr::new(ip.into(), port)],
        Some(Host::Domain(name)) => {
            tokio::net::lookup_host((name, port)).await.map_err(|_| DeliveryError::Dns)?.collect()
        }
        None => Vec::new(),
    };
    if addresses.is_empty() { Err(DeliveryError::Dns) } else { Ok(addresses) }
}

/// Connects to the first address that answers, or that the proxy reaches.
async fn connect(
    addresses: &[SocketAddr],
    proxy: Option<&Proxy>,
) -> Result<TcpStream, DeliveryError> {
    // More of them would only prolong the attempt.
    for address in addresses.iter().take(4) {
        let share = PATIENCE / 3;
        let connected = async {
            match proxy {
                Some(proxy) => proxy.connect(*address).await,
                None => TcpStream::connect(address).await,
            }
        };
        if let Ok(Ok(stream)) = tokio::time::timeout(share, connected).await {
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
    }
    Err(DeliveryError::Connect)
}

/// Sends the message over a connection, and reads the answer.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Url,
    message: Message,
) -> Result<Receipt, DeliveryError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LARGEST)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|_| DeliveryError::Connect)?;
    let broken = |error: hyper::Error| match error.is_parse_too_large() {
        true => DeliveryError::TooLarge,
        false => DeliveryError::Connect,
    };
    let mut request = Request::post(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .body(Full::new(message.body))
        .map_err(|_| DeliveryError::RefusedAddress)?;
    *request.headers_mut() = message.headers;
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let authority = HeaderValue::from_str(authority).map_err(|_| DeliveryError::RefusedAddress)?;
    request.headers_mut().insert(header::HOST, authority);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let answer = sender.send_request(request);
    // Dropped with the exchange, so that no task outlives it.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    let response = tokio::select! {
        biased;
        answer = &mut answer => answer.map_err(broken)?,
        done = &mut connection => match done {
            Err(error) => return Err(broken(error)),
            Ok(()) => answer.await.map_err(broken)?,
        },
    };
    let (parts, body) = response.into_parts();
    let mut text = Vec::new();
    let read = async {
        let mut reading = std::pin::pin!(beginning(body, &mut text));
        tokio::select! {
            biased;
            () = &mut reading => {}
            _ = connection => reading.await,
        }
    };
    let _ = tokio::time::timeout(READING, read).await;
    Ok(Receipt { status: parts.status, retry_after: RetryAfter::of(&parts.headers), body: text })
}

/// Reads the beginning of a body. A body that breaks is as good as its beginning.
async fn beginning(mut body: hyper::body::Incoming, text: &mut Vec<u8>) {
    while text.len() < LARGEST {
        let Some(Ok(frame)) = body.frame().await else { return };
        let data = frame.into_data().unwrap_or_default();
        text.extend_from_slice(&data[..data.len().min(LARGEST - text.len())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_reached_only_where_loopback_is_allowed() {
        let urls = [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0.0.0.0/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
        ];
        let poster = |allow_loopback| {
            // An allowed host may be private, but not this machine.
            let allowed_hosts = vec!["127.0.0.1".to_owned(), "10.0.0.1".to_owned()];
            Poster::new(FetchSettings { allow_loopback, allowed_hosts, ..FetchSettings::default() })
        };
        let (closed, open) = (poster(false), poster(true));
        for chosen_by in [ChosenBy::Operator, ChosenBy::Organization] {
            for url in urls {
                assert!(closed.check(url, chosen_by).is_err(), "{url}");
            }
            assert!(closed.check("https://10.0.0.1/", chosen_by).is_ok());
            assert!(open.check("https://127.0.0.1/", chosen_by).is_ok());
        }
        assert!(closed.check("https://10.0.0.2/", ChosenBy::Operator).is_ok());
        assert!(closed.check("https://10.0.0.2/", ChosenBy::Organization).is_err());
    }
}
