//! An HTTP proxy through which messages leave the network.
//!
//! # Design
//! The proxy is asked for a tunnel (CONNECT, RFC 9110, section 9.3.6) to the address that was checked, and
//! never to a name: a proxy that resolved it again could reach an address that is not permitted.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

/// The largest head of the proxy's answer, in bytes.
const LARGEST: usize = 8 * 1024;

/// The host and port of a proxy: `http://proxy.example:3128`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || "must be http://HOST:PORT, without a user, a path or a query".to_owned();
        let url = Url::parse(text).map_err(|_| rule())?;
        let is_plain = url.scheme() == "http"
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) if is_plain => {
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok(Self { host, port })
            }
            _ => Err(rule()),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "http://[{host}]:{port}")
        } else {
            write!(f, "http://{host}:{port}")
        }
    }
}

impl Proxy {
    /// Opens a tunnel to the address.
    pub(super) async fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // One byte at a time: what follows the head belongs to the tunnel.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == LARGEST {
                return Err(std::io::Error::other("the proxy's answer is too large"));
            }
            head.push(stream.read_u8().await?);
        }
        let status = head.split(|byte| *byte == b' ').nth(1);
        match status {
            Some([b'2', _, _]) => Ok(stream),
            _ => Err(std::io::Error::other("the proxy refuses the tunnel")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_is_a_host_and_a_port() {
        for (text, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("http://proxy.example", "http://proxy.example:80"),
            ("http://10.0.0.1:8080/", "http://10.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(text.parse::<Proxy>().unwrap().to_string(), shown);
        }
        for bad in [
            "proxy.example:3128",
            "https://proxy.example",
            "socks5://proxy.example",
            "http://user:secret@proxy.example",
            "http://proxy.example/path",
            "http://proxy.example/?a",
            "http://",
            "",
        ] {
            assert!(bad.parse::<Proxy>().is_err(), "{bad}");
        }
    }
}
