//! Peers: `connect`, `disconnect`, `listpeers`.

use std::time::Duration;

use clap::Args;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::print;
use super::values::duration;
use lnd_api::proto::lnrpc::{
    ConnectPeerRequest, DisconnectPeerRequest, LightningAddress, ListPeersRequest,
};

/// Connect to a peer.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct Connect {
    /// Address of the peer: <public key>@<host>[:port]
    peer: String,
    /// Reconnect whenever the connection is lost, until the node stops
    #[arg(long)]
    perm: bool,
    /// Connection timeout, 10m at most; 0s means 30s
    #[arg(long, value_parser = duration, default_value = "0s")]
    timeout: Duration,
}

impl Connect {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let Some((pubkey, host)) = self.peer.split_once('@') else {
            return error("target address expected in format: pubkey@host:port");
        };
        let addr = LightningAddress {
            pubkey: pubkey.to_owned(),
            host: host.to_owned(),
        };
        let request = ConnectPeerRequest {
            addr: Some(addr),
            perm: self.perm,
            timeout: self.timeout.as_secs(),
        };
        print(node.lightning.connect_peer(request).await?.get_ref())
    }
}

/// Disconnect from a peer. The node reconnects if it has channels with the peer.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct Disconnect {
    /// Public key of the peer
    #[arg(value_name = "PUBKEY", required_unless_present = "node_key")]
    pub_key: Option<String>,
    /// Public key of the peer
    #[arg(long, conflicts_with = "pub_key")]
    node_key: Option<String>,
}

impl Disconnect {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let pub_key = self.node_key.or(self.pub_key).unwrap_or_default();
        let request = DisconnectPeerRequest { pub_key };
        print(node.lightning.disconnect_peer(request).await?.get_ref())
    }
}

/// List connected peers.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ListPeers {
    /// Request all errors of each peer; has no effect, ampd does not record them
    #[arg(long)]
    list_errors: bool,
}

impl ListPeers {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = ListPeersRequest {
            latest_error: !self.list_errors,
        };
        print(node.lightning.list_peers(request).await?.get_ref())
    }
}
