//! A channel of the victim with an HTLC and an offline peer: only the victim can bring it on chain.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bitcoin::Txid;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;
use lnd_api::proto::invoicesrpc::{AddHoldInvoiceRequest, SettleInvoiceMsg};
use lnd_api::proto::lnrpc::close_status_update::Update;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::{CloseChannelRequest, PaymentHash};
use regtest::api::bolt11;
use regtest::channel_point::parse_point;
use regtest::manual_amp::random;
use regtest::network::Network;
use regtest::wait::wait_for;
use serde_json::json;
use tokio::time::timeout;

use crate::limits::BROADCAST_TIMEOUT;

/// Timeout for preparations before the attack.
const SETUP_LIMIT: Duration = Duration::from_secs(60);

/// The channel and the preimage that claims its HTLC.
#[derive(Debug)]
pub(crate) struct Escape {
    point: String,
    preimage: [u8; 32],
}

impl Escape {
    /// The peer `gone` pays an invoice that the victim holds.
    pub(crate) async fn prepare(network: &Network, sat: i64) -> Result<Self> {
        let preimage = random();
        let hash = sha256::Hash::hash(&preimage).to_byte_array().to_vec();
        let victim = network["victim"].api()?;
        let request = AddHoldInvoiceRequest {
            hash: hash.clone(),
            value: sat,
            ..Default::default()
        };
        let added = victim.invoices.clone().add_hold_invoice(request).await?;
        let payment = bolt11(&added.into_inner().payment_request);
        let gone = network["gone"].api()?;
        tokio::spawn(async move { gone.pay(payment).await });
        let point = wait_for("the HTLC", SETUP_LIMIT, async || {
            let asked = PaymentHash {
                r_hash: hash.clone(),
                ..Default::default()
            };
            let invoice = victim.lightning.clone().lookup_invoice(asked).await?;
            let state = invoice.into_inner().state();
            ensure!(state == InvoiceState::Accepted, "the invoice is {state:?}");
            let channels = victim.channels().await?;
            let with_htlc = channels.into_iter().find(|channel| {
                let mut htlcs = channel.pending_htlcs.iter();
                htlcs.any(|htlc| htlc.incoming && htlc.hash_lock == hash)
            });
            Ok(with_htlc.context("no channel has the HTLC")?.channel_point)
        });
        Ok(Self {
            point: point.await?,
            preimage,
        })
    }

    /// Force-closes the channel, mines, and claims the HTLC. Returns the times until the commitment and the
    /// claim were in the mempool.
    pub(crate) async fn run(self, network: &Network) -> Result<(Duration, Duration)> {
        let start = Instant::now();
        let closed = timeout(BROADCAST_TIMEOUT, self.force_close(network)).await;
        closed.context("a forced close was not in the mempool in time")??;
        let close = start.elapsed();
        network.mine(1).await?;
        let start = Instant::now();
        let claimed = timeout(BROADCAST_TIMEOUT, self.claim(network)).await;
        claimed.context("the claim of an HTLC was not in the mempool in time")??;
        Ok((close, start.elapsed()))
    }

    async fn force_close(&self, network: &Network) -> Result<()> {
        let request = CloseChannelRequest {
            channel_point: Some(parse_point(&self.point)?),
            force: true,
            ..Default::default()
        };
        let mut lightning = network["victim"].api()?.lightning;
        let mut updates = lightning.close_channel(request).await?.into_inner();
        let update = updates.message().await?.and_then(|update| update.update);
        let Some(Update::ClosePending(pending)) = update else {
            anyhow::bail!("unexpected update for the forced close: {update:?}");
        };
        let txid = Txid::from_slice(&pending.txid)?.to_string();
        wait_for("the commitment", BROADCAST_TIMEOUT, async || {
            let mempool = network.bitcoind.mempool().await?;
            ensure!(mempool.contains(&txid), "the mempool holds {mempool:?}");
            Ok(())
        })
        .await
    }

    async fn claim(&self, network: &Network) -> Result<()> {
        let request = SettleInvoiceMsg {
            preimage: self.preimage.to_vec(),
        };
        let mut invoices = network["victim"].api()?.invoices;
        invoices.settle_invoice(request).await?;
        let preimage = json!(self.preimage.to_lower_hex_string());
        wait_for("the claim", BROADCAST_TIMEOUT, async || {
            for txid in network.bitcoind.mempool().await? {
                let parameters = json!([txid, true]);
                let tx = network.bitcoind.call("getrawtransaction", parameters);
                let tx = tx.await?;
                let inputs = tx["vin"].as_array().context("no inputs")?;
                let mut witnesses = inputs
                    .iter()
                    .filter_map(|input| input["txinwitness"].as_array());
                if witnesses.any(|witness| witness.contains(&preimage)) {
                    return Ok(());
                }
            }
            anyhow::bail!("no transaction in the mempool contains the preimage")
        })
        .await
    }
}
