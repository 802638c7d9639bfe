//! Names and formats that lnd's clients and tools rely on: files, networks, addresses and headers.

use std::fmt;
use std::path::{Path, PathBuf};

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};

/// The name of the TLS certificate's file in the data directory.
pub const CERTIFICATE_FILE: &str = "tls.cert";

/// The name of the file in [`macaroon_directory`] with the macaroon that permits everything.
pub const ADMIN_FILE: &str = "admin.macaroon";

/// The gRPC metadata key of the hex-encoded macaroon. REST uses the header `Grpc-Metadata-macaroon`.
pub const MACAROON_HEADER: &str = "macaroon";

/// Every network with its name in lnd's directories and flags.
const NETWORKS: [(Network, &str); 5] = [
    (Network::Bitcoin, "mainnet"),
    (Network::Testnet, "testnet"),
    (Network::Testnet4, "testnet4"),
    (Network::Signet, "signet"),
    (Network::Regtest, "regtest"),
];

/// All network names as one text, for help and error texts.
pub const NETWORK_NAMES: &str = "mainnet, testnet, testnet4, signet or regtest";

/// Returns the network with this name; `None` if the name is unknown.
#[must_use]
pub fn network_by_name(name: &str) -> Option<Network> {
    let mut networks = NETWORKS.into_iter();
    networks
        .find(|(_, known)| *known == name)
        .map(|(network, _)| network)
}

/// Returns the name of a network, which is also the name of its directory in the data directory.
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

/// Returns the directory of a network's macaroons, below lnd's data directory.
#[must_use]
pub fn macaroon_directory(data_dir: &Path, network: Network) -> PathBuf {
    let networks = data_dir.join("data/chain/bitcoin");
    networks.join(network_name(network))
}

/// Returns the lock id with which lnd leases the coins that it selects for a PSBT. Clients use it to release
/// these coins.
#[must_use]
pub fn lnd_lease_id() -> [u8; 32] {
    sha256::Hash::hash(b"lnd-internal-lock-id").to_byte_array()
}

/// A host (a name or an IP address without brackets) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A host name or IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl HostPort {
    /// Parses `host`, `host:port`, `[IPv6]` or `[IPv6]:port`; `None` if the text is malformed.
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
    fn network_names_round_trip() {
        for (network, name) in NETWORKS {
            assert_eq!(network_by_name(name), Some(network));
            assert_eq!(network_name(network), name);
            assert!(NETWORK_NAMES.contains(name));
        }
        assert_eq!(network_by_name("bitcoin"), None);
    }

    #[test]
    fn parses_hosts_with_and_without_a_port() {
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
