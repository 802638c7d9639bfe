//! Lists of channels: `channelbalance`, `listchannels`, `pendingchannels`, `closedchannels`; and their
//! backup: `exportchanbackup`.

use clap::Args;

use super::connection::Node;
use super::error::CliError;
use super::output::{print, print_json};
use super::values::{Hex, hex};
use lnd_api::channel_ids;
use lnd_api::proto::lnrpc::{
    ChanBackupExportRequest, ChannelBalanceRequest, ClosedChannelsRequest, ListChannelsRequest,
    PendingChannelsRequest,
};
use lnd_api::to_json;

/// Show the total balance of all channels.
#[derive(Debug, Args)]
pub(crate) struct ChannelBalance {}

impl ChannelBalance {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        print(
            node.lightning
                .channel_balance(ChannelBalanceRequest {})
                .await?
                .get_ref(),
        )
    }
}

/// List open channels.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ListChannels {
    /// List only active channels (usable now)
    #[arg(long)]
    active_only: bool,
    /// List only inactive channels
    #[arg(long)]
    inactive_only: bool,
    /// List only announced channels
    #[arg(long)]
    public_only: bool,
    /// List only unannounced channels
    #[arg(long)]
    private_only: bool,
    /// List only channels with this peer (public key)
    #[arg(long, value_parser = hex)]
    peer: Option<Hex>,
    /// Omit the aliases of the peers
    #[arg(long)]
    skip_peer_alias_lookup: bool,
}

impl ListChannels {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = ListChannelsRequest {
            active_only: self.active_only,
            inactive_only: self.inactive_only,
            public_only: self.public_only,
            private_only: self.private_only,
            peer: self.peer.map(|peer| peer.0).unwrap_or_default(),
            peer_alias_lookup: !self.skip_peer_alias_lookup,
        };
        let answer = node.lightning.list_channels(request).await?;
        print_json(&channel_ids(to_json(answer.get_ref())?))
    }
}

/// List pending channels: opening, closing or force-closing.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct PendingChannels {
    /// Include the closing transactions (hex)
    #[arg(long)]
    include_raw_tx: bool,
}

impl PendingChannels {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = PendingChannelsRequest {
            include_raw_tx: self.include_raw_tx,
        };
        print(node.lightning.pending_channels(request).await?.get_ref())
    }
}

/// List closed channels. Flags select closure types; by default all are listed.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ClosedChannels {
    /// Closed cooperatively
    #[arg(long)]
    cooperative: bool,
    /// Force-closed by us
    #[arg(long)]
    local_force: bool,
    /// Force-closed by the peer
    #[arg(long)]
    remote_force: bool,
    /// Closed after the peer broadcast a revoked commitment transaction
    #[arg(long)]
    breach: bool,
    /// Closed before the funding transaction confirmed
    #[arg(long)]
    funding_canceled: bool,
    /// Abandoned
    #[arg(long)]
    abandoned: bool,
}

impl ClosedChannels {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = ClosedChannelsRequest {
            cooperative: self.cooperative,
            local_force: self.local_force,
            remote_force: self.remote_force,
            breach: self.breach,
            funding_canceled: self.funding_canceled,
            abandoned: self.abandoned,
        };
        let answer = node.lightning.closed_channels(request).await?;
        print_json(&channel_ids(to_json(answer.get_ref())?))
    }
}

/// Export static channel backups.
///
/// ampd does not create such backups yet: the command fails if the node has channels.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ExportChanBackup {
    /// Export the backups of all channels
    #[arg(long, required = true)]
    all: bool,
}

impl ExportChanBackup {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = ChanBackupExportRequest {};
        let backup = node.lightning.export_all_channel_backups(request).await?;
        print(backup.get_ref())
    }
}
