//! The client's address behind trusted proxies.
//!
//! In `X-Forwarded-For` and `Forwarded` (RFC 7239), the client is the rightmost address that does
//! not belong to a trusted proxy. The client itself wrote the part to its left. Headers of other
//! peers are ignored. `X-Forwarded-Host` is always ignored: the server knows its name from
//! `CP_BASE_URL`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::anyhow;
use axum::http::HeaderMap;
use ipnet::IpNet;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const FORWARDED: &str = "forwarded";

/// The networks of trusted proxies.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<[IpNet]>);

impl FromStr for Proxies {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| {
            let one = part.parse::<IpAddr>().map(IpNet::from);
            one.or_else(|_| part.parse())
                .map_err(|_| anyhow!("must be addresses and networks, such as 10.0.0.0/8,::1"))
        };
        Ok(Self(parts.map(network).collect::<anyhow::Result<_>>()?))
    }
}

impl Proxies {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the address of the client.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let claimed = |name, hop: fn(&str) -> Option<&str>| {
            headers.contains_key(name).then(|| self.walk(peer, headers, name, hop))
        };
        let plain = claimed(FOR, |hop| Some(hop));
        let standard = claimed(FORWARDED, |hop| parameter(hop, "for"));
        match (plain, standard) {
            // A proxy that writes one of these headers passes on the other as the client sent it.
            // They cannot be distinguished, so neither is trusted.
            (Some(plain), Some(standard)) if plain != standard => peer,
            (one, other) => one.or(other).unwrap_or(peer),
        }
    }

    fn walk(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        name: &str,
        hop: fn(&str) -> Option<&str>,
    ) -> IpAddr {
        let mut nearest = peer;
        for part in rightmost_first(headers, name) {
            // A hop that hides its address, or garbage: everything to its left is unknown, too.
            let Some(address) = hop(part).and_then(address) else { return nearest };
            nearest = address;
            if !self.trusts(nearest) {
                return nearest;
            }
        }
        nearest
    }

    /// Returns whether the client's own connection was encrypted, according to the nearest proxy.
    pub(super) fn is_secure(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        if !self.trusts(peer) {
            return false;
        }
        let nearest = rightmost_first(headers, PROTO).next().or_else(|| {
            rightmost_first(headers, FORWARDED).next().and_then(|hop| parameter(hop, "proto"))
        });
        nearest.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    }
}

/// Returns the members of a list that may span several header lines.
fn rightmost_first<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let lines: Vec<&str> =
        headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    lines.into_iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim)
}

/// Returns the value of `for` in `for="[2001:db8::1]:4711";proto=https`.
fn parameter<'h>(hop: &'h str, name: &str) -> Option<&'h str> {
    hop.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// Parses an address in the forms that proxies write: bare, in brackets, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let found = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(IpAddr::to_canonical(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&str, &str)]) -> String {
        let proxies: Proxies = "10.0.0.0/8, 2001:db8:f::/48,192.0.2.10".parse().unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(axum::http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, headers, expected) in [
            ("203.0.113.9", vec![(FOR, "198.51.100.1")], "203.0.113.9"),
            ("203.0.113.9", vec![(FORWARDED, "for=198.51.100.1")], "203.0.113.9"),
            ("10.1.2.3", vec![], "10.1.2.3"),
            ("10.1.2.3", vec![(FOR, "198.51.100.1")], "198.51.100.1"),
            ("::ffff:10.1.2.3", vec![(FOR, "198.51.100.1")], "198.51.100.1"),
            // The part that the client itself wrote is on the left.
            ("10.1.2.3", vec![(FOR, "127.0.0.1, 198.51.100.1")], "198.51.100.1"),
            ("10.1.2.3", vec![(FOR, "127.0.0.1, 198.51.100.1, 10.9.9.9")], "198.51.100.1"),
            (
                "10.1.2.3",
                vec![(FOR, "127.0.0.1"), (FOR, "198.51.100.1,192.0.2.10")],
                "198.51.100.1",
            ),
            ("10.1.2.3", vec![(FOR, "198.51.100.1, garbage, 10.9.9.9")], "10.9.9.9"),
            ("10.1.2.3", vec![(FOR, "10.7.7.7, 10.9.9.9")], "10.7.7.7"),
            ("10.1.2.3", vec![(FOR, "")], "10.1.2.3"),
            ("10.1.2.3", vec![(FOR, "198.51.100.1:4711")], "198.51.100.1"),
            ("10.1.2.3", vec![(FOR, "2001:db8::7")], "2001:db8::7"),
            ("2001:db8:f::1", vec![(FOR, "[2001:db8::7]:4711")], "2001:db8::7"),
            (
                "10.1.2.3",
                vec![(FORWARDED, "for=127.0.0.1, for=\"[2001:db8::7]:80\";proto=https")],
                "2001:db8::7",
            ),
            ("10.1.2.3", vec![(FORWARDED, "for=198.51.100.1, For=_hidden")], "10.1.2.3"),
            // The proxy wrote one header, the client the other.
            ("10.1.2.3", vec![(FOR, "198.51.100.1"), (FORWARDED, "for=127.0.0.1")], "10.1.2.3"),
            (
                "10.1.2.3",
                vec![(FOR, "198.51.100.1"), (FORWARDED, "for=198.51.100.1")],
                "198.51.100.1",
            ),
        ] {
            assert_eq!(client(peer, &headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn networks_are_parsed() {
        assert!("10.0.0.0/8, ::1".parse::<Proxies>().unwrap().trusts([10, 1, 1, 1].into()));
        assert!(!"".parse::<Proxies>().unwrap().trusts([127, 0, 0, 1].into()));
        for text in ["10.0.0.0/33", "proxy.example", "10.0.0", "*"] {
            assert!(text.parse::<Proxies>().is_err(), "{text}");
        }
    }
}
