//! `openchannel` and `closechannel`.

use bitcoin::Txid;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::print_json;
use super::values::{Hex, bare_msat, channel_point, hex, outpoint, sat, signed, wallet_output};
use lnd_api::proto::lnrpc::channel_point::FundingTxid;
use lnd_api::proto::lnrpc::close_status_update::Update;
use lnd_api::proto::lnrpc::{
    CloseChannelRequest, CommitmentType, ConnectPeerRequest, LightningAddress, OpenChannelRequest,
};
use lnd_api::txid;

/// Kinds of channels by lncli's names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChannelType {
    Tweakless,
    Anchors,
    Taproot,
}

/// Open a channel.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct OpenChannel {
    #[arg(id = "key", value_name = "NODE_KEY", value_parser = hex)]
    key: Option<Hex>,
    #[arg(id = "amount", value_name = "LOCAL_AMT", value_parser = sat)]
    amount: Option<u64>,
    #[arg(id = "push", value_name = "PUSH_AMT", value_parser = sat)]
    push: Option<u64>,
    /// The peer's public key
    #[arg(long, conflicts_with = "key", value_parser = hex)]
    node_key: Option<Hex>,
    /// Connect to the peer at this host:port first
    #[arg(long)]
    connect: Option<String>,
    /// The channel's size (sat, or with a unit: 0.01btc)
    #[arg(long, conflicts_with = "amount", value_parser = sat)]
    local_amt: Option<u64>,
    /// Fund the channel with the whole wallet balance
    #[arg(long)]
    fundmax: bool,
    /// Amount to push to the peer (sat)
    #[arg(long, conflicts_with = "push", value_parser = sat)]
    push_amt: Option<u64>,
    /// Our base fee for forwards (msat)
    #[arg(long)]
    base_fee_msat: Option<u64>,
    /// Our fee rate for forwards (millionths)
    #[arg(long)]
    fee_rate_ppm: Option<u64>,
    /// Confirmation target for fee estimation (blocks)
    #[arg(long, default_value_t = 0)]
    conf_target: i32,
    /// Fee rate
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// Do not announce the channel
    #[arg(long)]
    private: bool,
    /// The smallest HTLC that we accept (msat)
    #[arg(long, value_parser = bare_msat, default_value = "0")]
    min_htlc_msat: u64,
    /// Blocks that the peer waits for its money after a force close
    #[arg(long, default_value_t = 0)]
    remote_csv_delay: u32,
    /// Most blocks that we are ready to wait for ours
    #[arg(long, default_value_t = 0)]
    max_local_csv: u32,
    /// Confirmations that an output must have to be spent
    #[arg(long, default_value_t = 1)]
    min_confs: i32,
    /// Address for our funds on a cooperative close
    #[arg(long, default_value = "")]
    close_address: String,
    /// Most that the peer may have in flight towards us (msat)
    #[arg(long, value_parser = bare_msat, default_value = "0")]
    remote_max_value_in_flight_msat: u64,
    /// Most HTLCs that the peer may have in flight towards us
    #[arg(long, default_value_t = 0)]
    remote_max_htlcs: u32,
    /// What the peer has to keep on its side (sat)
    #[arg(long, value_parser = sat, default_value = "0")]
    remote_reserve_sats: u64,
    /// Kind of channel
    #[arg(long, value_enum)]
    channel_type: Option<ChannelType>,
    /// Open a zero-conf channel
    #[arg(long)]
    zero_conf: bool,
    /// Hide the funding output behind an alias
    #[arg(long)]
    scid_alias: bool,
    /// A note for ourselves
    #[arg(long, default_value = "")]
    memo: String,
    /// An output to spend (txid:index); may be repeated
    #[arg(long, value_parser = outpoint)]
    utxo: Vec<bitcoin::OutPoint>,
}

impl OpenChannel {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let host = self.connect.clone();
        let request = self.request()?;
        if let Some(host) = host {
            connect(node, &request.node_pubkey, host).await?;
        }
        let point = node
            .lightning
            .open_channel_sync(request)
            .await?
            .into_inner();
        let funding_txid = match point.funding_txid {
            Some(FundingTxid::FundingTxidBytes(bytes)) => txid(&bytes),
            Some(FundingTxid::FundingTxidStr(text)) => text,
            None => return error("the node answered without a funding transaction"),
        };
        print_json(&json!({ "funding_txid": funding_txid }))
    }

    fn request(self) -> Result<OpenChannelRequest, CliError> {
        let Some(Hex(node_pubkey)) = self.node_key.or(self.key) else {
            return error("node id argument missing: give NODE_KEY or --node_key");
        };
        let amount = self.local_amt.or(self.amount);
        if amount.is_some() == self.fundmax {
            return error("give either the channel's size (--local_amt) or --fundmax");
        }
        if self.conf_target != 0 && self.sat_per_vbyte != 0 {
            return error("either conf_target or sat_per_vbyte should be set, but not both");
        }
        Ok(OpenChannelRequest {
            sat_per_vbyte: self.sat_per_vbyte,
            node_pubkey,
            local_funding_amount: signed(amount.unwrap_or(0)),
            push_sat: signed(self.push_amt.or(self.push).unwrap_or(0)),
            target_conf: self.conf_target,
            private: self.private,
            min_htlc_msat: signed(self.min_htlc_msat),
            remote_csv_delay: self.remote_csv_delay,
            min_confs: self.min_confs,
            spend_unconfirmed: self.min_confs == 0,
            close_address: self.close_address,
            remote_max_value_in_flight_msat: self.remote_max_value_in_flight_msat,
            remote_max_htlcs: self.remote_max_htlcs,
            max_local_csv: self.max_local_csv,
            commitment_type: commitment_type(self.channel_type).into(),
            zero_conf: self.zero_conf,
            scid_alias: self.scid_alias,
            base_fee: self.base_fee_msat.unwrap_or(0),
            fee_rate: self.fee_rate_ppm.unwrap_or(0),
            use_base_fee: self.base_fee_msat.is_some(),
            use_fee_rate: self.fee_rate_ppm.is_some(),
            remote_chan_reserve_sat: self.remote_reserve_sats,
            fund_max: self.fundmax,
            memo: self.memo,
            outpoints: self.utxo.iter().map(wallet_output).collect(),
            ..Default::default()
        })
    }
}

fn commitment_type(channel_type: Option<ChannelType>) -> CommitmentType {
    match channel_type {
        None => CommitmentType::UnknownCommitmentType,
        Some(ChannelType::Tweakless) => CommitmentType::StaticRemoteKey,
        Some(ChannelType::Anchors) => CommitmentType::Anchors,
        Some(ChannelType::Taproot) => CommitmentType::SimpleTaproot,
    }
}

/// Connects to the peer; that it is connected already is fine.
async fn connect(node: &mut Node, pubkey: &[u8], host: String) -> Result<(), CliError> {
    let pubkey = bitcoin::hex::DisplayHex::to_lower_hex_string(pubkey);
    let addr = Some(LightningAddress { pubkey, host });
    let request = ConnectPeerRequest {
        addr,
        perm: false,
        timeout: 0,
    };
    match node.lightning.connect_peer(request).await {
        Err(status) if !status.message().contains("already connected") => Err(status.into()),
        _ => Ok(()),
    }
}

/// Close a channel.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct CloseChannel {
    /// The funding transaction, or the channel point txid:index
    #[arg(value_name = "FUNDING_TXID")]
    channel: Option<String>,
    #[arg(id = "index", value_name = "OUTPUT_INDEX")]
    index: Option<u32>,
    /// The channel point txid:index
    #[arg(long, conflicts_with_all = ["channel", "funding_txid"])]
    chan_point: Option<String>,
    /// The funding transaction
    #[arg(long, conflicts_with = "channel")]
    funding_txid: Option<String>,
    /// The output of the funding transaction
    #[arg(long, conflicts_with = "index")]
    output_index: Option<u32>,
    /// Force-close the channel; our funds stay time-locked (to_self_delay)
    #[arg(long)]
    force: bool,
    /// Block until the closing transaction confirms
    #[arg(long)]
    block: bool,
    /// Confirmation target for fee estimation (blocks)
    #[arg(long, default_value_t = 0)]
    conf_target: i32,
    /// Exactly this fee rate, if we opened the channel; else the peer pays what it likes
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// Highest fee rate that we pay (sat per vbyte)
    #[arg(long, default_value_t = 0)]
    max_fee_rate: u64,
    /// Address for our funds
    #[arg(long, default_value = "")]
    delivery_addr: String,
}

/// Closes a channel. The transaction is there once it is published, or confirmed if `block` says so.
pub async fn closing_txid(
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
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
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
            return error("the channel is missing: give --chan_point, or FUNDING_TXID");
        };
        let vout = self.output_index.or(self.index);
        match (text.parse::<Txid>(), vout) {
            (Ok(txid), vout) => Ok(bitcoin::OutPoint {
                txid,
                vout: vout.unwrap_or(0),
            }),
            (Err(_), None) => outpoint(text).map_err(CliError::Text),
            (Err(_), Some(_)) => error(format!("{text:?} is not a transaction's id")),
        }
    }
}
