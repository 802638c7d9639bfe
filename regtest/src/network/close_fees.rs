//! Closes a channel and inspects the fee of the closing transaction.

use anyhow::{Context, Result, bail, ensure};
use bitcoin::Txid;
use bitcoin::hashes::Hash;
use lnd_api::proto::lnrpc::CloseChannelRequest;
use lnd_api::proto::lnrpc::close_status_update::Update;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{AGREE_LIMIT, Network};
use crate::channel_point::parse_point;
use crate::wait::wait_for;

/// A closing transaction in the mempool.
#[derive(Debug)]
pub struct ClosingFee {
    pub sat: u64,
    pub vbytes: u64,
}

impl ClosingFee {
    /// Whether this is the fee rate. Nodes estimate with fixed signature sizes, and 1 sat/vB is rounded
    /// up, so a deviation of 1/50 is allowed.
    pub fn is(&self, sat_per_vbyte: u64) -> bool {
        let expected = sat_per_vbyte * self.vbytes;
        self.sat.abs_diff(expected) * 50 <= expected
    }
}

impl Network {
    /// Lets `closer` close the channel cooperatively at `sat_per_vbyte` (0: its own estimate) and returns
    /// the fee of the closing transaction. Does not mine.
    ///
    /// # Errors
    /// If the node refuses, or the closing transaction is a commitment.
    pub async fn close_for(
        &self,
        closer: &str,
        point: &str,
        sat_per_vbyte: u64,
    ) -> Result<ClosingFee> {
        let request = CloseChannelRequest {
            channel_point: Some(parse_point(point)?),
            sat_per_vbyte,
            ..Default::default()
        };
        let mut lightning = self[closer].api()?.lightning;
        // lnd sends nothing, not even that it has started, before there is a transaction.
        let first = async {
            let mut updates = lightning.close_channel(request).await?.into_inner();
            updates.message().await
        };
        let update = timeout(AGREE_LIMIT, first).await;
        let update = update.context("no update with a closing transaction")??;
        let closing = match update.and_then(|update| update.update) {
            Some(Update::ClosePending(pending)) => Txid::from_slice(&pending.txid)?.to_string(),
            other => bail!("expected a closing transaction, got {other:?}"),
        };
        self.closing_fee(&closing).await
    }

    /// Whether this transaction, in the block at `height`, is a commitment.
    ///
    /// # Errors
    /// If it is not in that block.
    pub async fn is_commitment(&self, txid: &str, height: u32) -> Result<bool> {
        let block = self.bitcoind.call("getblockhash", json!([height])).await?;
        let parameters = json!([txid, true, block]);
        let transaction = self.bitcoind.call("getrawtransaction", parameters);
        has_commitment_lock_time(&transaction.await?)
    }

    async fn closing_fee(&self, closing: &str) -> Result<ClosingFee> {
        let transaction = wait_for("the closing transaction", AGREE_LIMIT, async || {
            self.bitcoind
                .call("getrawtransaction", json!([closing, true]))
                .await
        })
        .await?;
        ensure!(
            !has_commitment_lock_time(&transaction)?,
            "{closing} is a commitment"
        );
        let entry = self
            .bitcoind
            .call("getmempoolentry", json!([closing]))
            .await?;
        Ok(ClosingFee {
            sat: sat(&entry["fees"]["base"])?,
            vbytes: entry["vsize"].as_u64().context("no size")?,
        })
    }
}

/// In a commitment, the upper byte of the lock time is 0x20 (BOLT 3).
fn has_commitment_lock_time(transaction: &Value) -> Result<bool> {
    let lock_time = transaction["locktime"].as_u64().context("no lock time")?;
    Ok(lock_time >> 24 == 0x20)
}

fn sat(btc: &Value) -> Result<u64> {
    let btc = btc.as_f64().context("no fee")?;
    Ok(bitcoin::Amount::from_btc(btc)?.to_sat())
}
