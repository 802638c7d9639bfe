//! `openchannel`.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::print_json;
use super::values::{Hex, bare_msat, hex, outpoint, sat, signed, wallet_output};
use lnd_api::proto::lnrpc::channel_point::FundingTxid;
use lnd_api::proto::lnrpc::{
    CommitmentType, ConnectPeerRequest, LightningAddress, OpenChannelRequest,
};
use lnd_api::txid;

/// Channel types with lncli's names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChannelType {
    Tweakless,
    Anchors,
    Taproot,
}

/// Open a channel.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct OpenChannel {
    /// Public key of the peer
    #[arg(id = "key", value_name = "NODE_KEY", value_parser = hex)]
    key: Option<Hex>,
    /// Channel capacity (sat, or with a unit: 0.01btc)
    #[arg(id = "amount", value_name = "LOCAL_AMT", value_parser = sat)]
    amount: Option<u64>,
    /// Amount given to the peer in the initial commitment (sat)
    #[arg(id = "push", value_name = "PUSH_AMT", value_parser = sat)]
    push: Option<u64>,
    /// Public key of the peer
    #[arg(long, conflicts_with = "key", value_parser = hex)]
    node_key: Option<Hex>,
    /// Address (host:port) at which to connect to the peer first
    #[arg(long)]
    connect: Option<String>,
    /// Channel capacity (sat, or with a unit: 0.01btc)
    #[arg(long, conflicts_with = "amount", value_parser = sat)]
    local_amt: Option<u64>,
    /// Fund the channel with the whole wallet balance; not supported
    #[arg(long)]
    fundmax: bool,
    /// Amount given to the peer in the initial commitment (sat)
    #[arg(long, conflicts_with = "push", value_parser = sat)]
    push_amt: Option<u64>,
    /// Base fee for forwards (msat) [default: the node's]
    #[arg(long)]
    base_fee_msat: Option<u64>,
    /// Fee rate for forwards (ppm) [default: the node's]
    #[arg(long)]
    fee_rate_ppm: Option<u64>,
    /// Confirmation target for fee estimation (blocks); 0 means 6
    #[arg(long, default_value_t = 0)]
    conf_target: i32,
    /// Fee rate (sat/vB); 0 means an estimate for conf_target
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// Do not announce the channel
    #[arg(long)]
    private: bool,
    /// Minimum value of HTLCs from the peer (msat); 0 means the node's default
    #[arg(long, value_parser = bare_msat, default_value = "0")]
    min_htlc_msat: u64,
    /// Delay (blocks) on the peer's funds after it force-closes; 0 means the node's default
    #[arg(long, default_value_t = 0)]
    remote_csv_delay: u32,
    /// Maximum delay (blocks) on our funds after we force-close; not supported
    #[arg(long, default_value_t = 0)]
    max_local_csv: u32,
    /// Minimum number of confirmations of the outputs spent; only 1 is supported
    #[arg(long, default_value_t = 1)]
    min_confs: i32,
    /// Address for our funds in a cooperative close; not supported
    #[arg(long, default_value = "")]
    close_address: String,
    /// Maximum value (msat) of pending HTLCs from the peer; not supported
    #[arg(long, value_parser = bare_msat, default_value = "0")]
    remote_max_value_in_flight_msat: u64,
    /// Maximum number of pending HTLCs from the peer; not supported
    #[arg(long, default_value_t = 0)]
    remote_max_htlcs: u32,
    /// Channel reserve required of the peer (sat); not supported
    #[arg(long, value_parser = sat, default_value = "0")]
    remote_reserve_sats: u64,
    /// Channel type; only anchors is supported
    #[arg(long, value_enum)]
    channel_type: Option<ChannelType>,
    /// Open a zero-conf channel; not supported
    #[arg(long)]
    zero_conf: bool,
    /// Use an SCID alias, which never reveals the funding output; requires --private
    #[arg(long)]
    scid_alias: bool,
    /// Memo for the channel; not supported
    #[arg(long, default_value = "")]
    memo: String,
    /// Output to spend (txid:index); not supported
    #[arg(long, value_parser = outpoint)]
    utxo: Vec<bitcoin::OutPoint>,
}

impl OpenChannel {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
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
            None => return error("the node's response has no funding transaction"),
        };
        print_json(&json!({ "funding_txid": funding_txid }))
    }

    fn request(self) -> Result<OpenChannelRequest, CliError> {
        let Some(Hex(node_pubkey)) = self.node_key.or(self.key) else {
            return error("node id argument missing: set NODE_KEY or --node_key");
        };
        let amount = self.local_amt.or(self.amount);
        if amount.is_some() == self.fundmax {
            return error(
                "set the channel capacity with LOCAL_AMT or --local_amt; --fundmax is not supported",
            );
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

/// Connects to the peer. An existing connection is not an error.
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
