//! Warnings about settings that are probably unintended: valid by themselves, but inconsistent or
//! unknown.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::Config;

impl Config {
    /// Returns the warnings about these settings, for a server that starts to serve.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let Ok(base) = Url::parse(&self.base_url) else { return warnings };
        let is_loopback = leads_here(&base);
        if base.scheme() == "http" && !is_loopback {
            warnings.push(format!(
                "CP_BASE_URL is {}: tokens and credentials are sent unencrypted, and people cannot log \
                 in. Use an https URL",
                self.base_url
            ));
        }
        let traces = &self.traces;
        let collector = traces.collector().filter(|_| traces.has_headers());
        if let Some(url) = collector.filter(|url| url.scheme() == "http" && !leads_here(url)) {
            warnings.push(format!(
                "OTEL_EXPORTER_OTLP_HEADERS is sent unencrypted to {}. Use an https URL",
                url.host_str().unwrap_or_default()
            ));
        }
        let has_proxies = !self.network.trusted_proxies.is_empty();
        if !has_proxies && let Some(warning) = mismatch(self.listen, &base, is_loopback) {
            warnings.push(warning);
        }
        warnings
    }
}

/// Warns about a base URL that leads nowhere, or elsewhere, without a proxy in between.
fn mismatch(listen: SocketAddr, base: &Url, is_loopback: bool) -> Option<String> {
    let (base_host, port) = (base.host_str()?, base.port_or_known_default()?);
    if listen.ip().is_loopback() && !is_loopback {
        return Some(format!(
            "CP_LISTEN is {listen}, which only this machine reaches, but CP_BASE_URL names \
             {base_host}. Listen on 0.0.0.0, or name the proxy in CP_TRUSTED_PROXIES"
        ));
    }
    if listen.ip().is_unspecified() && is_loopback {
        return Some(format!(
            "CP_LISTEN is {listen}, which other machines reach, but CP_BASE_URL names {base_host}: \
             links and issuer lead each of them to itself. Set CP_BASE_URL to the URL that they use"
        ));
    }
    let is_elsewhere = is_loopback && listen.port() != 0 && listen.port() != port;
    is_elsewhere.then(|| {
        format!(
            "CP_LISTEN has port {}, but CP_BASE_URL has port {port}: links and issuer lead to \
             another port. Change either, or name the proxy in CP_TRUSTED_PROXIES",
            listen.port()
        )
    })
}

fn leads_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mismatch_of(listen: &str, base: &str) -> bool {
        let base = Url::parse(base).unwrap();
        mismatch(listen.parse().unwrap(), &base, leads_here(&base)).is_some()
    }

    #[test]
    fn listen_address_that_the_base_url_does_not_lead_to_is_a_mismatch() {
        assert!(mismatch_of("127.0.0.1:8801", "https://lic.example.com"));
        assert!(mismatch_of("[::1]:8801", "https://lic.example.com"));
        assert!(mismatch_of("127.0.0.1:8802", "http://127.0.0.1:8801"));
        assert!(mismatch_of("0.0.0.0:8801", "http://127.0.0.1:8801"));
        assert!(mismatch_of("[::]:8801", "http://localhost:8801"));
        assert!(!mismatch_of("0.0.0.0:8801", "https://lic.example.com"));
        assert!(!mismatch_of("127.0.0.1:8801", "http://localhost:8801"));
        assert!(!mismatch_of("127.0.0.1:0", "http://127.0.0.1:8801"));
    }
}
