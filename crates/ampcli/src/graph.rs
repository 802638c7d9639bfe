//! The channel graph: `getnodeinfo`, `getchaninfo`, `getnetworkinfo`, `describegraph`.

use clap::Args;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::print;
use lnd_api::proto::lnrpc::{
    ChanInfoRequest, ChannelGraphRequest, NetworkInfoRequest, NodeInfoRequest,
};

/// Show a node of the channel graph.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct GetNodeInfo {
    /// Public key of the node
    #[arg(
        id = "node",
        value_name = "PUB_KEY",
        required_unless_present = "pub_key"
    )]
    node: Option<String>,
    /// Public key of the node
    #[arg(long, conflicts_with = "node")]
    pub_key: Option<String>,
    /// Include its announced channels
    #[arg(long)]
    include_channels: bool,
    /// Include the signatures of the channel announcements; requires --include_channels
    #[arg(long)]
    include_auth_proof: bool,
}

impl GetNodeInfo {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = NodeInfoRequest {
            pub_key: self.pub_key.or(self.node).unwrap_or_default(),
            include_channels: self.include_channels,
            include_auth_proof: self.include_auth_proof,
        };
        print(node.lightning.get_node_info(request).await?.get_ref())
    }
}

/// Show a channel of the channel graph.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct GetChanInfo {
    /// Short channel ID (chan_id), as a number
    #[arg(id = "channel", value_name = "CHAN_ID")]
    channel: Option<u64>,
    /// Short channel ID (chan_id), as a number
    #[arg(long, conflicts_with = "channel")]
    chan_id: Option<u64>,
    /// Channel point (txid:index), used if no chan_id is given
    #[arg(long)]
    chan_point: Option<String>,
    /// Include the signatures of the channel announcement
    #[arg(long)]
    include_auth_proof: bool,
}

impl GetChanInfo {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let chan_id = self.chan_id.or(self.channel);
        if chan_id.is_none() && self.chan_point.is_none() {
            return error("chan_id or chan_point argument missing");
        }
        let request = ChanInfoRequest {
            chan_id: chan_id.unwrap_or(0),
            chan_point: self.chan_point.unwrap_or_default(),
            include_auth_proof: self.include_auth_proof,
        };
        print(node.lightning.get_chan_info(request).await?.get_ref())
    }
}

/// Show statistics of the channel graph.
#[derive(Debug, Args)]
pub(crate) struct GetNetworkInfo {}

impl GetNetworkInfo {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let answer = node
            .lightning
            .get_network_info(NetworkInfoRequest {})
            .await?;
        print(answer.get_ref())
    }
}

/// Print all nodes and channels of the channel graph.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct DescribeGraph {
    /// Include our channels that are not announced (or not yet)
    #[arg(long)]
    include_unannounced: bool,
    /// Include the signatures of the channel announcements
    #[arg(long)]
    include_auth_proof: bool,
}

impl DescribeGraph {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = ChannelGraphRequest {
            include_unannounced: self.include_unannounced,
            include_auth_proof: self.include_auth_proof,
        };
        print(node.lightning.describe_graph(request).await?.get_ref())
    }
}
