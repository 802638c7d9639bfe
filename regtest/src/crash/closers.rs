//! Crashes nodes once at each crash point of a channel close, and checks that their funds reach the
//! wallets. A close that was not on disk must not have had any effect; one that was must complete.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bitcoin::Amount;
use bitcoin::hashes::{Hash, sha256};
use crash_points::Point;
use lnd_api::proto::invoicesrpc::{AddHoldInvoiceRequest, SettleInvoiceMsg};
use lnd_api::proto::lnrpc::CloseChannelRequest;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use serde_json::json;
use tokio::time::timeout;
use tonic::Status;

use crate::api::bolt11;
use crate::binaries::Binaries;
use crate::channel_point::parse_point;
use crate::network::{ChannelPlan, Network};
use crate::wait::wait_for;

const CLOSER: &str = "alice";
const PEER: &str = "bob";
const CAPACITY_SAT: u64 = 1_000_000;
const PUSHED_SAT: u64 = 400_000;
const PAID_SAT: u64 = 100_000;
/// Maximum fees of all transactions of a channel, from funding to the last sweep, at regtest's fee rates.
const MAX_FEES_SAT: u64 = 80_000;
/// For a cooperative close; a commitment with a CPFP child would replace it.
const LOW_SAT_PER_VBYTE: u64 = 2;
/// Slightly more than the `to_self_delay` of the closer's own output.
const DELAY_BLOCKS: u32 = 150;
const LIMIT: Duration = Duration::from_secs(90);

/// Two nodes that open a channel for each crash point.
#[derive(Debug)]
pub(super) struct Closers(Network);

impl Closers {
    pub(super) async fn start(binaries: Binaries) -> Result<Self> {
        let network = Network::with_nodes(binaries, &[CLOSER, PEER]).await?;
        Ok(Self(network))
    }

    /// Stops the network after a successful run.
    pub(super) fn finish(self) {
        self.0.finish();
    }

    /// Runs all crash points of closers and prints a line for each.
    pub(super) async fn every_point(&mut self) -> Result<()> {
        for point in Point::OF_CLOSERS {
            let start = Instant::now();
            let report = self.point(point).await;
            let report = report.with_context(|| format!("crash at {point}"))?;
            println!(
                "crash at {point:<22}  {report}  {:>5.1} s",
                start.elapsed().as_secs_f32()
            );
        }
        Ok(())
    }

    /// Opens a channel, crashes one node while closing it, and checks that all funds reach the wallets.
    async fn point(&mut self, point: Point) -> Result<String> {
        let plan = ChannelPlan::new(CLOSER, PEER, CAPACITY_SAT).push(PUSHED_SAT);
        let channel = self.0.open(&[plan]).await?.remove(0);
        let before = [self.wallet(CLOSER).await?, self.wallet(PEER).await?];
        let moved_sat = match point {
            Point::ForceClosed => self.forgotten_close(point, &channel).await?,
            Point::Claimed => self.claim(point, &channel).await?,
            Point::Sweeping => self.sweep(point, &channel).await?,
            _ => self.repeated_close(point, &channel).await?,
        };
        self.0.mine_until_swept(18, LIMIT).await?;
        if point == Point::CloseStored {
            self.check_cooperative(&channel).await?;
        }
        let after = [self.wallet(CLOSER).await?, self.wallet(PEER).await?];
        let shares = [
            CAPACITY_SAT - PUSHED_SAT - moved_sat,
            PUSHED_SAT + moved_sat,
        ];
        let mut fees_sat = 0;
        for (name, (share, (before, after))) in [CLOSER, PEER]
            .into_iter()
            .zip(shares.into_iter().zip(before.into_iter().zip(after)))
        {
            let expected = before + share;
            ensure!(
                (expected - MAX_FEES_SAT..=expected).contains(&after),
                "{name} had {before} sat in the wallet and {share} sat in the channel, and now has \
                 {after} sat"
            );
            fees_sat += expected - after;
        }
        Ok(format!(
            "{CAPACITY_SAT} sat returned, including {fees_sat:>5} sat in fees"
        ))
    }

    /// A crash before the commit: the close is lost, nothing has been broadcast, and the channel
    /// continues. The peer is offline, because LDK tells it at once and it would force-close too.
    async fn forgotten_close(&mut self, point: Point, channel: &str) -> Result<u64> {
        self.dies_at(CLOSER, point).await?;
        self.stop(PEER).await?;
        let cut_off = self.close(channel, true).await;
        ensure!(cut_off.is_err(), "the client got a response for the close");
        self.aborted(CLOSER, point).await?;
        self.check_nothing_left().await?;
        self.0[CLOSER].abort_nowhere();
        self.0.restart(&[CLOSER, PEER]).await?;
        self.0.wait_usable().await?;
        self.check_nothing_left().await?;
        let invoice = self.0[PEER].api()?.invoice(PAID_SAT * 1_000).await?;
        self.0
            .pay(CLOSER, &bolt11(&invoice.payment_request))
            .await?;
        self.0.wait_settled(LIMIT).await?;
        // The peer would now claim any output that the payment revoked.
        self.close(channel, true).await?;
        self.wait_broadcast().await?;
        Ok(PAID_SAT)
    }

    /// The peer claims an HTLC of a channel that is already closed. The claim is not on disk when the
    /// peer crashes, so it must not have been broadcast.
    async fn claim(&mut self, point: Point, channel: &str) -> Result<u64> {
        self.dies_at(PEER, point).await?;
        let preimage = [u8::try_from(fastrand::u32(1..256))?; 32];
        let hash = sha256::Hash::hash(&preimage).to_byte_array().to_vec();
        let request = AddHoldInvoiceRequest {
            hash,
            value: i64::try_from(PAID_SAT)?,
            ..Default::default()
        };
        let peer = self.0[PEER].api()?;
        let invoice = peer.invoices.clone().add_hold_invoice(request).await?;
        let (payer, pay) = (
            self.0[CLOSER].api()?,
            bolt11(&invoice.into_inner().payment_request),
        );
        let payment = tokio::spawn(async move { payer.pay(pay).await });
        self.wait_accepted().await?;
        self.close(channel, true).await?;
        self.wait_broadcast().await?;
        self.0.mine(1).await?;
        let settle = SettleInvoiceMsg {
            preimage: preimage.to_vec(),
        };
        // The decision may or may not be on disk, so the client may get a response.
        let _ = peer.invoices.clone().settle_invoice(settle.clone()).await;
        self.aborted(PEER, point).await?;
        self.check_unclaimed().await?;
        self.restart(PEER).await?;
        let peer = self.0[PEER].api()?;
        let _ = peer.invoices.clone().settle_invoice(settle).await;
        self.wait_broadcast().await?;
        self.0.mine(6).await?;
        let payment = timeout(LIMIT, payment).await;
        let payment = payment.context("the payment does not complete")???;
        ensure!(
            payment.status() == PaymentStatus::Succeeded,
            "the payment is {}",
            payment.status().as_str_name()
        );
        Ok(PAID_SAT)
    }

    /// The crash happens while outputs of a close are being swept.
    async fn sweep(&mut self, point: Point, channel: &str) -> Result<u64> {
        self.dies_at(CLOSER, point).await?;
        self.close(channel, true).await?;
        self.wait_broadcast().await?;
        self.0.mine(1).await?;
        // The closer crashes before the last one is broadcast.
        self.0.bitcoind.mine(DELAY_BLOCKS).await?;
        self.crash_and_restart(CLOSER, point).await?;
        Ok(0)
    }

    /// The close is on disk, or restarts when the peers reconnect.
    async fn repeated_close(&mut self, point: Point, channel: &str) -> Result<u64> {
        self.dies_at(CLOSER, point).await?;
        let is_forced = matches!(point, Point::FeeAsked | Point::FeeRaised);
        // The client may or may not get a response before the crash.
        let _ = self.close(channel, is_forced).await;
        self.crash_and_restart(CLOSER, point).await?;
        self.wait_broadcast().await?;
        Ok(0)
    }

    /// Restarts the node so that it crashes at this point.
    async fn dies_at(&mut self, name: &str, point: Point) -> Result<()> {
        self.stop(name).await?;
        self.0[name].abort_at(point, 1);
        self.0.restart(&[name]).await?;
        self.0.wait_usable().await
    }

    async fn stop(&mut self, name: &str) -> Result<()> {
        let status = self.0[name].stop().await?;
        ensure!(status.success(), "{name} exited with {status}");
        Ok(())
    }

    async fn crash_and_restart(&mut self, name: &str, point: Point) -> Result<()> {
        self.aborted(name, point).await?;
        self.restart(name).await
    }

    async fn aborted(&mut self, name: &str, point: Point) -> Result<()> {
        let aborted = self.0[name].wait_for_abort().await;
        aborted.with_context(|| format!("{name} never reached {point}"))
    }

    async fn restart(&mut self, name: &str) -> Result<()> {
        self.0[name].abort_nowhere();
        self.0.restart(&[name]).await
    }

    /// Starts a close and returns at its first update.
    async fn close(&self, channel: &str, force: bool) -> Result<(), Status> {
        let wrong = |error: anyhow::Error| Status::internal(format!("{error:#}"));
        let request = CloseChannelRequest {
            channel_point: Some(parse_point(channel).map_err(wrong)?),
            force,
            sat_per_vbyte: if force { 0 } else { LOW_SAT_PER_VBYTE },
            ..Default::default()
        };
        let api = self.0[CLOSER].api().map_err(wrong)?;
        let answer = api.lightning.clone().close_channel(request).await?;
        let first = answer.into_inner().message().await?;
        first
            .map(|_| ())
            .ok_or_else(|| Status::aborted("no response"))
    }

    /// Checks that nothing was broadcast before its commit.
    async fn check_nothing_left(&self) -> Result<()> {
        let mempool = self.0.bitcoind.mempool().await?;
        ensure!(mempool.is_empty(), "the mempool holds {mempool:?}");
        Ok(())
    }

    /// Checks that no transaction in the mempool spends an HTLC of [`PAID_SAT`].
    async fn check_unclaimed(&self) -> Result<()> {
        let bitcoind = &self.0.bitcoind;
        for txid in bitcoind.mempool().await? {
            let transaction = bitcoind.call("getrawtransaction", json!([txid, true]));
            let transaction = transaction.await?;
            for input in transaction["vin"]
                .as_array()
                .context("the transaction has no inputs")?
            {
                let output = json!([input["txid"], input["vout"], false]);
                let output = bitcoind.call("gettxout", output).await?;
                let value = output["value"].as_f64().map(Amount::from_btc).transpose()?;
                ensure!(
                    value != Some(Amount::from_sat(PAID_SAT)),
                    "{txid} claims the HTLC"
                );
            }
        }
        Ok(())
    }

    /// Checks that the agreed closing transaction was confirmed, not a commitment.
    async fn check_cooperative(&self, channel: &str) -> Result<()> {
        let closed = self.0[CLOSER].api()?.closed().await?.channels;
        let closed = closed.iter().find(|one| one.channel_point == channel);
        let closed = closed.context("the channel is not listed as closed")?;
        let closing = &closed.closing_tx_hash;
        ensure!(
            !self.0.is_commitment(closing, closed.close_height).await?,
            "the confirmed transaction {closing} is a commitment, not the agreed closing transaction"
        );
        Ok(())
    }

    async fn wait_accepted(&self) -> Result<()> {
        wait_for("the HTLC at the peer", LIMIT, async || {
            let invoices = self.0[PEER].api()?.invoices(0).await?.invoices;
            let held = invoices
                .iter()
                .any(|invoice| invoice.state() == InvoiceState::Accepted);
            ensure!(held, "no invoice holds an HTLC");
            Ok(())
        })
        .await
    }

    async fn wait_broadcast(&self) -> Result<()> {
        wait_for("a transaction in the mempool", LIMIT, async || {
            let mempool = self.0.bitcoind.mempool().await?;
            ensure!(!mempool.is_empty(), "the mempool is empty");
            Ok(())
        })
        .await
    }

    async fn wallet(&self, name: &str) -> Result<u64> {
        let wallet = self.0[name].api()?.wallet().await?;
        Ok(u64::try_from(wallet.confirmed_balance)?)
    }
}
