//! Which addresses may be connected to, decided after names are resolved (hostile inputs, class 5).
//!
//! A definition is a stranger's word: `from: 169.254.169.254/latest:meta-data` must not make this program talk to what only
//! this machine can reach. Names are checked by their addresses, at each connection, so that a name that changes its mind
//! between two looks gains nothing. What is connected to through a proxy is resolved there and is the proxy's to refuse;
//! addresses that are written out are refused here all the same.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Who can be reached at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The same from everywhere.
    Public,
    /// Depends on where one asks: loopback, private networks.
    Private,
    /// Nobody who is a registry: link-local (among them the metadata services of clouds), multicast, unspecified.
    Never,
}

/// An address that may not be connected to; in words, what follows the host's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedAddress {
    address: IpAddr,
    reach: Reach,
}

impl fmt::Display for RefusedAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, reach } = self;
        match reach {
            Reach::Never => write!(out, "is at {address}, where no registry is"),
            Reach::Private | Reach::Public => write!(
                out,
                "is at the private address {address}; if that is meant, write `private: true` for it under `registries` in the config"
            ),
        }
    }
}

impl std::error::Error for RefusedAddress {}

/// Who can be reached there. IPv4 addresses inside IPv6 ones count as what they are.
pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [first, second, third, _] = address.octets();
    match (first, second, third) {
        // This network, link-local, protocol assignments (Oracle's metadata service), multicast, reserved, broadcast.
        (0, _, _) | (169, 254, _) | (192, 0, 0) | (224..=255, _, _) => Reach::Never,
        // Azure's, at an address like any other.
        (168, 63, 129) if address.octets()[3] == 16 => Reach::Never,
        // Alibaba's metadata service, inside the range of carriers.
        (100, 100, 100) if address.octets()[3] == 200 => Reach::Never,
        (10 | 127, _, _) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (198, 18 | 19, _) => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Never,
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private,
        // Mapped, compatible, NAT64 and its local form, 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => Reach::Never,
        [0x2002, high, low, ..] => embedded(high, low),
        // Amazon's metadata service, inside the range of private networks.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Reach::Never,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Reach::Private,
        [0xfe80..=0xfebf, ..] | [0xff00..=0xffff, ..] => Reach::Never,
        _ => Reach::Public,
    }
}

fn permit(address: IpAddr, private: bool) -> Result<(), RefusedAddress> {
    match reach(address) {
        Reach::Public => Ok(()),
        Reach::Private if private => Ok(()),
        reach @ (Reach::Private | Reach::Never) => Err(RefusedAddress { address, reach }),
    }
}

/// Checks a URL whose host is an address: such a host is never resolved. `Url` has read decimal, hexadecimal and shortened
/// forms of IPv4 by then.
///
/// # Errors
///
/// When it may not be connected to.
pub(super) fn check_url(url: &Url, private: bool) -> Result<(), RefusedAddress> {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(address) => permit(address, private),
        Err(_) => Ok(()),
    }
}

/// Resolves names with the system's resolver and keeps the addresses that may be connected to.
pub(super) struct Guard {
    /// Private addresses are meant.
    pub(super) private: bool,
    /// Hosts of the proxies that the environment names: they are inside, and whoever set them knows it.
    pub(super) proxies: Arc<BTreeSet<String>>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let private = self.private || self.proxies.contains(&host);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let mut refused = None;
            let mut kept = Vec::new();
            for address in found {
                match permit(address.ip(), private) {
                    Ok(()) => kept.push(address),
                    Err(error) => refused = Some(error),
                }
            }
            match refused {
                Some(error) if kept.is_empty() => Err(error.into()),
                _ => Ok(Box::new(kept.into_iter()) as Addrs),
            }
        })
    }
}

/// The hosts of the proxies that the environment names.
pub(super) fn proxies() -> BTreeSet<String> {
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let host = |name: &&str| {
        let text = std::env::var(name).ok()?;
        let url = Url::parse(&text).or_else(|_| Url::parse(&format!("http://{text}"))).ok()?;
        url.host_str().map(str::to_owned)
    };
    names.iter().filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let table = [
            (Reach::Public, "8.8.8.8 1.1.1.1 172.32.0.1 100.128.0.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808"),
            (
                Reach::Private,
                "10.0.0.1 127.0.0.1 127.9.9.9 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 ::1 fd00::1 fec0::1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 2002:a00:1:: ::ffff:0:10.0.0.1",
            ),
            (
                Reach::Never,
                "0.0.0.0 169.254.169.254 224.0.0.1 255.255.255.255 192.0.0.192 100.100.100.200 168.63.129.16 :: fe80::1 ff02::1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: 2001::1 fd00:ec2::254",
            ),
        ];
        for (expected, addresses) in table {
            for text in addresses.split(' ') {
                let address: IpAddr = text.parse().expect("the table is right");
                assert_eq!(reach(address), expected, "{text}");
            }
        }
    }

    #[test]
    fn written_addresses_are_refused_in_every_spelling() {
        for host in ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"] {
            let url = Url::parse(&format!("https://{host}:5000/v2/")).expect("the table is right");
            assert!(check_url(&url, false).is_err(), "{host}");
            assert!(check_url(&url, true).is_ok(), "{host}");
        }
        let metadata = Url::parse("http://0xa9fea9fe/latest").expect("a URL");
        assert!(check_url(&metadata, true).is_err(), "no config opens the metadata service");
        let name = Url::parse("https://registry.example.com/").expect("a URL");
        assert!(check_url(&name, false).is_ok(), "names are resolved first");
    }
}
