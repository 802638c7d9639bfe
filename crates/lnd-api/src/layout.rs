//! Names that lnd's clients and tools rely on: files, networks, addresses and headers.

use std::fmt;
use std::path::{Path, PathBuf};

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};

/// The TLS certificate, in the data directory.
pub const CERTIFICATE_FILE: &str = "tls.cert";

/// The macaroon that allows everything, in [`macaroon_directory`].
pub const ADMIN_FILE: &str = "admin.macaroon";

/// The gRPC metadata key of the macaroon, in hex. REST has it as the header `Grpc-Metadata-macaroon`.
pub const MACAROON_HEADER: &str = "macaroon";

/// Every network with the name that lnd's folders and flags have for it.
const NETWORKS: [(Network, &str); 5] = [
    (Network::Bitcoin, "mainnet"),
    (Network::Testnet, "testnet"),
    (Network::Testnet4, "testnet4"),
    (Network::Signet, "signet"),
    (Network::Regtest, "regtest"),
];

/// All names of networks as one text, for help and errors.
pub const NETWORK_NAMES: &str = "mainnet, testnet, testnet4, signet or regtest";

/// The network with this name, if there is one.
#[must_use]
pub fn network_by_name(name: &str) -> Option<Network> {
    let mut networks = NETWORKS.into_iter();
    networks
        .find(|(_, known)| *known == name)
        .map(|(network, _)| network)
}

/// The name of the network, which is also the name of its folder in the data directory.
#[must_use]
pub fn network_name(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "mainnet",
        Network::Testnet => "testnet",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    }
}

/// The directory of a network's macaroons, below lnd's data directory.
#[must_use]
pub fn macaroon_directory(data_dir: &Path, network: Network) -> PathBuf {
    let networks = data_dir.join("data/chain/bitcoin");
    networks.join(network_name(network))
}

/// The id with which lnd leases the coins that it selects for a PSBT. Clients release such coins with it.
#[must_use]
pub fn lnd_lease_id() -> [u8; 32] {
    sha256::Hash::hash(b"lnd-internal-lock-id").to_byte_array()
}

/// A host, as name or IP without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    /// Reads `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
    #[must_use]
    pub fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (
                    host,
                    if after.is_empty() {
                        None
                    } else {
                        Some(after.strip_prefix(':')?)
                    },
                )
            }
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let known = text.starts_with('[') || (!host.is_empty() && host.bytes().all(is_host));
        known.then(|| HostPort {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_found_by_its_name() {
        for (network, name) in NETWORKS {
            assert_eq!(network_by_name(name), Some(network));
            assert_eq!(network_name(network), name);
            assert!(NETWORK_NAMES.contains(name));
        }
        assert_eq!(network_by_name("bitcoin"), None);
    }

    #[test]
    fn a_host_may_leave_out_its_port() {
        let parse = |text| HostPort::parse(text, 8332).map(|host| host.to_string());
        assert_eq!(parse("localhost"), Some("localhost:8332".to_owned()));
        assert_eq!(parse("10.0.0.1:18443"), Some("10.0.0.1:18443".to_owned()));
        assert_eq!(parse("[::1]:1"), Some("[::1]:1".to_owned()));
        assert_eq!(parse("[::1]"), Some("[::1]:8332".to_owned()));
        for text in [
            "",
            ":8332",
            "::1",
            "host:port",
            "http://host:1",
            "[::1",
            "[x]:1",
            "a b",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
