//! Node addresses as text.

use std::net::SocketAddr;

use lightning::ln::msgs::SocketAddress;

/// Formats an address as `host:port`, with IPv6 addresses as in RFC 5952, unlike LDK's own format.
pub fn text(address: &SocketAddress) -> String {
    match ip_address(address) {
        Some(ip) => ip.to_string(),
        None => address.to_string(),
    }
}

pub fn ip_address(address: &SocketAddress) -> Option<SocketAddr> {
    match address {
        SocketAddress::TcpIpV4 { addr, port } => Some(SocketAddr::from((*addr, *port))),
        SocketAddress::TcpIpV6 { addr, port } => Some(SocketAddr::from((*addr, *port))),
        SocketAddress::OnionV2(_)
        | SocketAddress::OnionV3 { .. }
        | SocketAddress::Hostname { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_are_compressed() {
        for (long, short) in [
            (
                "[2001:0db8:0000:0000:0000:0000:0000:0001]:9735",
                "[2001:db8::1]:9735",
            ),
            ("[0:0:0:0:0:0:0:1]:1", "[::1]:1"),
            ("[2001:DB8:0:0:1:0:0:1]:9735", "[2001:db8::1:0:0:1]:9735"),
            ("[fe80::]:65535", "[fe80::]:65535"),
        ] {
            let address: SocketAddress = long.parse().unwrap();
            assert_eq!(text(&address), short);
        }
    }

    #[test]
    fn other_addresses_are_unchanged() {
        let onion = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion:9735";
        for address in ["1.2.3.4:9735", "example.org:9735", onion] {
            assert_eq!(text(&address.parse().unwrap()), address);
        }
    }
}
