//! The networks by the names that people use: those of folders, flags and the config file.

use bitcoin::Network;

/// Every network with its name and bitcoind's RPC port.
const NETWORKS: [(Network, &str, u16); 5] = [
    (Network::Bitcoin, "mainnet", 8332),
    (Network::Testnet, "testnet", 18332),
    (Network::Testnet4, "testnet4", 48332),
    (Network::Signet, "signet", 38332),
    (Network::Regtest, "regtest", 18443),
];

/// The networks as one text, for help and errors.
pub const NETWORK_NAMES: &str = "mainnet, testnet, testnet4, signet or regtest";

/// The network of this name, if there is one.
#[must_use]
pub fn network_by_name(name: &str) -> Option<Network> {
    NETWORKS
        .iter()
        .find(|(_, known, _)| *known == name)
        .map(|(network, _, _)| *network)
}

/// The name of the network, which is also its folder in the data directory.
#[must_use]
pub fn network_name(network: Network) -> &'static str {
    entry(network).1
}

/// The port on which bitcoind serves RPC unless it is told otherwise.
#[must_use]
pub fn bitcoind_rpc_port(network: Network) -> u16 {
    entry(network).2
}

/// Where bitcoind keeps the network's files, below its own data directory.
#[must_use]
pub fn bitcoind_folder(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "",
        Network::Testnet => "testnet3",
        other => network_name(other),
    }
}

fn entry(network: Network) -> &'static (Network, &'static str, u16) {
    // `Network` has these five variants; the test below goes through all of them.
    NETWORKS
        .iter()
        .find(|(known, _, _)| *known == network)
        .unwrap_or(&NETWORKS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_has_a_name_that_leads_back_to_it() {
        for (network, name, port) in NETWORKS {
            assert_eq!(network_by_name(name), Some(network));
            assert_eq!(network_name(network), name);
            assert_eq!(bitcoind_rpc_port(network), port);
            assert!(NETWORK_NAMES.contains(name));
        }
        assert_eq!(network_by_name("bitcoin"), None);
    }
}
