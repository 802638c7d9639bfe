//! The network origin of a peer's connection.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or the IPv6 network of one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin(Option<IpAddr>);

impl Origin {
    /// `None` means that the address is unknown because the peer has disconnected.
    ///
    /// A customer of an IPv6 provider has between 2^8 and 2^16 networks of 2^64 addresses
    /// (RFC 6177), so a /48 counts as one address.
    pub fn new(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 80 << 80;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        }))
    }

    /// Returns whether many peers may share it: a Tor daemon or a proxy on this machine or in its
    /// network.
    pub(super) fn is_shared(self) -> bool {
        match self.0 {
            None => true,
            Some(IpAddr::V4(address)) => {
                address.is_loopback() || address.is_private() || address.is_link_local()
            }
            // `::1` loses its last bits above.
            Some(IpAddr::V6(address)) => {
                address.is_unspecified()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::channels::unfunded::tests::origin;

    #[test]
    fn ipv6_is_grouped_by_48_bits_and_ipv4_by_address() {
        assert_eq!(origin("2001:db8:1:2::3"), origin("2001:db8:1:ffff::9"));
        assert_ne!(origin("2001:db8:1:2::3"), origin("2001:db8:2:2::3"));
        assert_ne!(origin("203.0.113.1"), origin("203.0.113.2"));
        assert_eq!(origin("::ffff:203.0.113.1"), origin("203.0.113.1"));
    }

    #[test]
    fn proxy_addresses_are_shared() {
        for shared in ["127.0.0.1", "::1", "10.1.2.3", "172.17.0.1", "fd00::1"] {
            assert!(origin(shared).is_shared(), "{shared}");
        }
        for single in ["203.0.113.1", "2001:db8::1"] {
            assert!(!origin(single).is_shared(), "{single}");
        }
    }
}
