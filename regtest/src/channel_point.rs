//! Channel points as text: `txid:index`.

use anyhow::{Context, Result};
use bitcoin::hashes::Hash;
use lnd_api::proto::lnrpc::ChannelPoint;
use lnd_api::proto::lnrpc::channel_point::FundingTxid;

/// Formats a channel point as `txid:index`, as in channel lists.
pub fn point_text(point: &ChannelPoint) -> Result<String> {
    let txid = match point
        .funding_txid
        .as_ref()
        .context("the channel point has no txid")?
    {
        FundingTxid::FundingTxidStr(txid) => txid.clone(),
        FundingTxid::FundingTxidBytes(bytes) => bitcoin::Txid::from_slice(bytes)?.to_string(),
    };
    Ok(format!("{txid}:{}", point.output_index))
}

/// Parses `txid:index`.
pub fn parse_point(text: &str) -> Result<ChannelPoint> {
    let (txid, index) = text.split_once(':').context("not of the form txid:index")?;
    Ok(ChannelPoint {
        funding_txid: Some(FundingTxid::FundingTxidStr(txid.to_owned())),
        output_index: index.parse()?,
    })
}
