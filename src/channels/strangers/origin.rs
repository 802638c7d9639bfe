//! Where the connection of a peer comes from.

use std::net::{IpAddr, Ipv6Addr};

/// An address, or the network of one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin(Option<IpAddr>);

impl Origin {
    /// None if the address is not known, since the peer has gone.
    ///
    /// A customer of an IPv6 provider has between 2^8 and 2^16 networks of 2^64 addresses (RFC 6177), so
    /// one /48 counts as one address.
    pub fn new(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 80 << 80;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        }))
    }

    /// Whether many peers may be behind it: a Tor daemon or a proxy on this machine or beside it.
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
    use crate::channels::strangers::tests::origin;

    #[test]
    fn an_ipv6_customer_counts_once_and_ipv4_addresses_each() {
        assert_eq!(origin("2001:db8:1:2::3"), origin("2001:db8:1:ffff::9"));
        assert_ne!(origin("2001:db8:1:2::3"), origin("2001:db8:2:2::3"));
        assert_ne!(origin("203.0.113.1"), origin("203.0.113.2"));
        assert_eq!(origin("::ffff:203.0.113.1"), origin("203.0.113.1"));
    }

    #[test]
    fn addresses_of_proxies_are_shared() {
        for shared in ["127.0.0.1", "::1", "10.1.2.3", "172.17.0.1", "fd00::1"] {
            assert!(origin(shared).is_shared(), "{shared}");
        }
        for single in ["203.0.113.1", "2001:db8::1"] {
            assert!(!origin(single).is_shared(), "{single}");
        }
    }
}
