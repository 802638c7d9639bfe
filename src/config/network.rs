//! What bitcoind has differently on each network.

use bitcoin::Network;

/// The default port of bitcoind's RPC server.
#[must_use]
pub fn bitcoind_rpc_port(network: Network) -> u16 {
    match network {
        Network::Bitcoin => 8332,
        Network::Testnet => 18332,
        Network::Testnet4 => 48332,
        Network::Signet => 38332,
        Network::Regtest => 18443,
    }
}

/// The folder of the network's files below bitcoind's data directory.
#[must_use]
pub fn bitcoind_folder(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "",
        Network::Testnet => "testnet3",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    }
}
