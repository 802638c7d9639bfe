//! `closeallchannels`: closes active channels cooperatively and force-closes inactive ones.

use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};

use super::close_channel::closing_txid;
use super::connection::Node;
use super::error::{CliError, error};
use super::output::print_json;
use super::prompt::{confirm, is_confirmed};
use super::values::{channel_point, outpoint};
use lnd_api::proto::lnrpc::{Channel, CloseChannelRequest, ListChannelsRequest};

const ABORTED: &str = "action aborted by user";

/// Close all channels; inactive ones are force-closed after confirmation.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct CloseAllChannels {
    /// Close only inactive channels
    #[arg(long)]
    inactive_only: bool,
    /// Ask only once before force-closing all inactive channels
    #[arg(long)]
    force: bool,
    /// Confirmation target (blocks) for cooperative closes of channels that we opened; 0 means 12
    #[arg(long, default_value_t = 0)]
    conf_target: i32,
    /// Exact fee rate (sat/vB) of cooperative closes of channels that we opened; 0 means an estimate
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// Skip the first confirmation prompt; force-closing still requires confirmation
    #[arg(long, short = 's')]
    skip_confirmation: bool,
}

impl CloseAllChannels {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        if !self.skip_confirmation {
            let question = "Do you really want to close ALL channels? (yes/no): ";
            confirm(question, ABORTED)?;
        }
        let request = ListChannelsRequest::default();
        let open = node.lightning.list_channels(request).await?.into_inner();
        if open.channels.is_empty() {
            return error("no open channels to close");
        }
        let mut closing: FuturesUnordered<_> = self
            .chosen(open.channels)?
            .into_iter()
            .map(|channel| self.close(node.clone(), channel))
            .collect();
        while let Some(closed) = closing.next().await {
            print_json(&closed)?;
        }
        Ok(())
    }

    fn chosen(&self, channels: Vec<Channel>) -> Result<Vec<Channel>, CliError> {
        let (active, inactive): (Vec<_>, Vec<_>) =
            channels.into_iter().partition(|channel| channel.active);
        let mut chosen = match self.inactive_only {
            true => Vec::new(),
            false => active,
        };
        if self.force && !inactive.is_empty() {
            let question = "Force-close all inactive channels? Their funds stay time-locked for \
                            some blocks. (yes/no): ";
            confirm(question, ABORTED)?;
        }
        for channel in inactive {
            if self.force || is_confirmed(&force_close_question(&channel))? {
                chosen.push(channel);
            }
        }
        Ok(chosen)
    }

    /// Closes a channel and returns the result as lncli prints it.
    async fn close(&self, node: Node, channel: Channel) -> Value {
        let (txid, error) = match self.try_close(node, &channel).await {
            Ok(txid) => (txid, String::new()),
            Err(error) => (String::new(), error.to_string()),
        };
        json!({
            "remote_pub_key": channel.remote_pubkey,
            "channel_point": channel.channel_point,
            "closing_txid": txid,
            "error": error,
        })
    }

    async fn try_close(&self, mut node: Node, channel: &Channel) -> Result<String, CliError> {
        let point = outpoint(&channel.channel_point).map_err(CliError::Text)?;
        let fees = match channel.active {
            true => (self.conf_target, self.sat_per_vbyte),
            false => (0, 0),
        };
        let request = CloseChannelRequest {
            channel_point: Some(channel_point(point.txid, point.vout)),
            force: !channel.active,
            target_conf: fees.0,
            sat_per_vbyte: fees.1,
            ..Default::default()
        };
        closing_txid(&mut node, request, false).await
    }
}

fn force_close_question(channel: &Channel) -> String {
    let delay = channel.local_constraints.as_ref();
    let blocks = delay.map_or(0, |constraints| constraints.csv_delay);
    format!(
        "Force-close the channel {} with {}? Its funds stay time-locked for {blocks} blocks. \
         (yes/no): ",
        channel.channel_point, channel.remote_pubkey
    )
}
