//! bitcoind's defaults for each network.

use bitcoin::Network;

/// Returns the default port of bitcoind's RPC server.
#[must_use]
pub(super) fn bitcoind_rpc_port(network: Network) -> u16 {
    match network {
        Network::Bitcoin => 8332,
        Network::Testnet => 18332,
        Network::Testnet4 => 48332,
        Network::Signet => 38332,
        Network::Regtest => 18443,
    }
}

/// Returns the network's subdirectory of bitcoind's data directory; empty for mainnet.
#[must_use]
pub(super) fn bitcoind_subdir(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "",
        Network::Testnet => "testnet3",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    }
}
