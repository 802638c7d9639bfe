//! `closechannel`.

use bitcoin::Txid;
use clap::Args;
use serde_json::json;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::print_json;
use super::values::{channel_point, outpoint};
use lnd_api::proto::lnrpc::CloseChannelRequest;
use lnd_api::proto::lnrpc::close_status_update::Update;
use lnd_api::txid;

/// Close a channel.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct CloseChannel {
    /// Funding txid, or channel point (txid:index)
    #[arg(value_name = "FUNDING_TXID")]
    channel: Option<String>,
    /// Output index in the funding transaction [default: 0]
    #[arg(id = "index", value_name = "OUTPUT_INDEX")]
    index: Option<u32>,
    /// Channel point (txid:index)
    #[arg(long, conflicts_with_all = ["channel", "funding_txid"])]
    chan_point: Option<String>,
    /// Funding txid
    #[arg(long, conflicts_with = "channel")]
    funding_txid: Option<String>,
    /// Output index in the funding transaction [default: 0]
    #[arg(long, conflicts_with = "index")]
    output_index: Option<u32>,
    /// Force-close the channel; our funds stay time-locked (to_self_delay)
    #[arg(long)]
    force: bool,
    /// Wait until the closing transaction has confirmed
    #[arg(long)]
    block: bool,
    /// Confirmation target for fee estimation (blocks), used only if we opened the channel; 0 means 12
    #[arg(long, default_value_t = 0)]
    conf_target: i32,
    /// Exact fee rate (sat/vB), used only if we opened the channel; 0 means an estimate
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// Maximum fee rate (sat/vB); 0 means no limit
    #[arg(long, default_value_t = 0)]
    max_fee_rate: u64,
    /// Address for our funds in a cooperative close
    #[arg(long, default_value = "")]
    delivery_addr: String,
}

/// Closes a channel and returns the closing txid once the transaction is published or, with `block`,
/// confirmed.
pub(crate) async fn closing_txid(
    node: &mut Node,
    request: CloseChannelRequest,
    block: bool,
) -> Result<String, CliError> {
    let mut updates = node.lightning.close_channel(request).await?.into_inner();
    while let Some(message) = updates.message().await? {
        return Ok(match message.update {
            Some(Update::ClosePending(pending)) if !block => txid(&pending.txid),
            Some(Update::ChanClose(closed)) => txid(&closed.closing_txid),
            Some(Update::ClosePending(_) | Update::CloseInstant(_)) | None => continue,
        });
    }
    error("the node closed the stream before the closing transaction was published")
}

impl CloseChannel {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let block = self.block;
        let txid = closing_txid(node, self.request()?, block).await?;
        print_json(&json!({ "closing_txid": txid }))
    }

    fn request(self) -> Result<CloseChannelRequest, CliError> {
        if self.force && (self.conf_target != 0 || self.sat_per_vbyte != 0) {
            return error("force closes do not take conf_target or sat_per_vbyte");
        }
        let point = self.point()?;
        Ok(CloseChannelRequest {
            channel_point: Some(channel_point(point.txid, point.vout)),
            force: self.force,
            target_conf: self.conf_target,
            delivery_address: self.delivery_addr,
            sat_per_vbyte: self.sat_per_vbyte,
            max_fee_per_vbyte: self.max_fee_rate,
            ..Default::default()
        })
    }

    fn point(&self) -> Result<bitcoin::OutPoint, CliError> {
        let given = self.chan_point.as_ref().or(self.funding_txid.as_ref());
        let Some(text) = given.or(self.channel.as_ref()) else {
            return error("the channel is missing: set --chan_point or FUNDING_TXID");
        };
        let vout = self.output_index.or(self.index);
        match (text.parse::<Txid>(), vout) {
            (Ok(txid), vout) => Ok(bitcoin::OutPoint {
                txid,
                vout: vout.unwrap_or(0),
            }),
            (Err(_), None) => outpoint(text).map_err(CliError::Text),
            (Err(_), Some(_)) => error(format!("{text:?} is not a transaction ID")),
        }
    }
}
