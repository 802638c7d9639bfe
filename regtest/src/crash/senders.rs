//! Crashes senders once at each crash point, each in the middle of a multi-part payment of its kind:
//! AMP to a public key, AMP to a static invoice, and BOLT 11.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use crash_points::Point;
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;

use super::interrupted::Interrupted;
use super::{Crash, END_LIMIT};
use crate::api::{amp_to, bolt11, bytes};
use crate::binaries::Binaries;
use crate::network::{ChannelPlan, Network};

const SENDERS: [&str; 3] = ["alice", "dave", "erin"];
const RECEIVER: &str = "bob";
/// Charges a high fee and can forward everything.
const EXPENSIVE: &str = "carol";
/// Charges nothing, so it is tried first, but has no balance with the receiver.
const DRAINED: &str = "frank";
/// Above any penalty that a router assigns to an untried channel.
const EXPENSIVE_BASE_FEE_MSAT: u64 = 1_000_000;

/// Exceeds the total of all points.
const SENDERS_SAT: u64 = 3_000_000;
const EXPENSIVE_SAT: u64 = 10_000_000;
const DRAINED_SAT: u64 = 2_000_000;
/// The channel reserve of one percent (BOLT 2) plus what all senders send to learn the route.
const DRAINED_PUSH_SAT: u64 = DRAINED_SAT / 100 + 4_000;
const PROBE_MSAT: u64 = 1_000_000;
const PARTS: u64 = 4;

/// The network for the senders' crash points.
#[derive(Debug)]
pub(super) struct Senders(Crash);

/// State of a node before a crash point.
#[derive(Debug)]
struct Before {
    local_msat: u64,
    payment_index: u64,
}

impl Senders {
    /// Starts six nodes with eight channels; each sender knows both routes to the receiver.
    pub(super) async fn start(binaries: Binaries) -> Result<Self> {
        let mut network = Network::start(binaries).await?;
        let mut nodes = Vec::new();
        for name in [SENDERS.as_slice(), &[RECEIVER, EXPENSIVE, DRAINED]].concat() {
            let mut node = network.prepare(name)?;
            node.set_raw("accept-amp", "true");
            node.set_raw("fee-rate-ppm", "0");
            let fee_msat = if name == EXPENSIVE {
                EXPENSIVE_BASE_FEE_MSAT
            } else {
                0
            };
            node.set_raw("base-fee-msat", &fee_msat.to_string());
            nodes.push(node);
        }
        network.add(nodes).await?;
        let of_sender =
            |sender| [EXPENSIVE, DRAINED].map(|to| ChannelPlan::new(sender, to, SENDERS_SAT));
        let mut plans: Vec<_> = SENDERS.into_iter().flat_map(of_sender).collect();
        plans.push(ChannelPlan::new(EXPENSIVE, RECEIVER, EXPENSIVE_SAT));
        plans.push(ChannelPlan::new(RECEIVER, DRAINED, DRAINED_SAT).push(DRAINED_PUSH_SAT));
        let mut senders = Self(Crash::on(network, &plans).await?);
        senders.try_both_routes().await?;
        Ok(senders)
    }

    /// Stops the network after a successful run.
    pub(super) fn finish(self) {
        self.0.network.finish();
    }

    /// Sends over both routes. Afterwards the receiver has all of the low-fee forwarder's balance.
    async fn try_both_routes(&mut self) -> Result<()> {
        let network = &self.0.network;
        for sender in SENDERS {
            for forwarder in [EXPENSIVE, DRAINED] {
                let request = SendPaymentRequest {
                    last_hop_pubkey: bytes(network[forwarder].key())?,
                    ..amp_to(network[RECEIVER].key(), PROBE_MSAT)?
                };
                network.pay(sender, &request).await?;
            }
        }
        network.wait_settled(END_LIMIT).await?;
        self.0.check().await
    }

    /// Runs all crash points of senders and prints a line for each.
    pub(super) async fn every_point(&mut self) -> Result<()> {
        for point in Point::OF_SENDERS {
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

    /// All senders pay, crash and restart; every payment that was on disk must complete exactly once.
    async fn point(&mut self, point: Point) -> Result<String> {
        let payments = self.payments(point).await?;
        let mut before = Vec::new();
        for name in SENDERS {
            before.push(self.before(name).await?);
        }
        let receiver = self.before(RECEIVER).await?;
        let at = (point, nth(point));
        let network = &mut self.0.network;
        let interrupted = Interrupted::start(network, &SENDERS, at, payments).await?;
        network.restart(&SENDERS).await?;
        interrupted.cut_off().await?;
        network.wait_usable().await?;
        self.0.books.wait_ended(&self.0.network, END_LIMIT).await?;
        self.0.network.wait_settled(END_LIMIT).await?;
        self.0.check().await?;

        let (mut arrived_msat, mut attempts, mut failed) = (0, 0, 0);
        for (name, before) in SENDERS.into_iter().zip(before) {
            let Some(payment) = self.ended(name, &before, point).await? else {
                continue;
            };
            arrived_msat += u64::try_from(payment.value_msat)?;
            attempts += payment.htlcs.len();
            failed += failures(&payment);
            ensure!(
                failures(&payment) > 0 || !needs_failures(point),
                "no part of {} had to be retried",
                payment.payment_hash
            );
        }
        let after_msat = self.before(RECEIVER).await?.local_msat;
        ensure!(
            after_msat == receiver.local_msat + arrived_msat,
            "{RECEIVER} had {} msat, received {arrived_msat} msat and now has {after_msat} msat",
            receiver.local_msat
        );
        Ok(format!(
            "{arrived_msat:>9} msat in {attempts:>2} attempts, {failed:>2} of which failed"
        ))
    }

    async fn before(&self, name: &str) -> Result<Before> {
        let api = self.0.network[name].api()?;
        let payments = api.payments(0).await?.payments;
        let last = payments.iter().map(|payment| payment.payment_index).max();
        Ok(Before {
            local_msat: api.local_msat().await?,
            payment_index: last.unwrap_or(0),
        })
    }

    /// A payment of each kind, to new invoices: see [`super::reconcile::Books::update`].
    async fn payments(&self, point: Point) -> Result<Vec<(&'static str, SendPaymentRequest)>> {
        let msat = PARTS * part_msat(point);
        let dear = bytes(self.0.network[EXPENSIVE].key())?;
        let receiver = self.0.network[RECEIVER].api()?;
        let static_invoice = receiver.static_invoice().await?.payment_request;
        let kinds = [
            amp_to(self.0.network[RECEIVER].key(), msat)?,
            SendPaymentRequest {
                amt_msat: i64::try_from(msat)?,
                ..bolt11(&static_invoice)
            },
            bolt11(&receiver.invoice(msat).await?.payment_request),
        ];
        let in_parts = |kind| SendPaymentRequest {
            max_shard_size_msat: msat / PARTS,
            // At the other points, parts sent before the crash should arrive.
            last_hop_pubkey: if needs_failures(point) {
                Vec::new()
            } else {
                dear.clone()
            },
            ..kind
        };
        Ok(SENDERS.into_iter().zip(kinds.map(in_parts)).collect())
    }

    /// Returns the sender's only payment since then, which must have succeeded at exactly its amount
    /// plus fees; `None` if it was lost, which is allowed only before any of it is on disk.
    async fn ended(&self, name: &str, before: &Before, point: Point) -> Result<Option<Payment>> {
        let api = self.0.network[name].api()?;
        let mut payments = api.payments(before.payment_index).await?.payments;
        ensure!(payments.len() <= 1, "one call made {payments:?}");
        let payment = payments.pop();
        let spent_msat = before.local_msat - api.local_msat().await?;
        let Some(payment) = payment else {
            ensure!(point == Point::AttemptSent, "{name} lost its payment");
            ensure!(
                spent_msat == 0,
                "{name} spent {spent_msat} msat without a payment"
            );
            return Ok(None);
        };
        ensure!(
            payment.status() == PaymentStatus::Succeeded,
            "{name}'s payment is {}: {}",
            payment.status().as_str_name(),
            payment.failure_reason().as_str_name()
        );
        let costs_msat = u64::try_from(payment.value_msat + payment.fee_msat)?;
        ensure!(
            spent_msat == costs_msat,
            "{name} spent {spent_msat} msat on a payment that costs {costs_msat} msat including fees"
        );
        Ok(Some(payment))
    }
}

/// A router avoids retrying the amount that failed on a channel, so parts that are meant to fail
/// get smaller.
fn part_msat(point: Point) -> u64 {
    match point {
        Point::BeforeFailed => 20_000_000,
        Point::FailureStored => 5_000_000,
        _ => 50_000_000,
    }
}

/// The pass at which to abort.
fn nth(point: Point) -> u32 {
    match point {
        // One part was handed to LDK, the next is on disk.
        Point::AttemptStored => 2,
        _ => 1,
    }
}

fn needs_failures(point: Point) -> bool {
    matches!(point, Point::BeforeFailed | Point::FailureStored)
}

fn failures(payment: &Payment) -> usize {
    let failed = payment.htlcs.iter().filter(|htlc| htlc.failure.is_some());
    failed.count()
}
