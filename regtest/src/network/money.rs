//! Sends payments, and checks that no msat is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Channel, Payment, PaymentFailureReason};
use lnd_api::proto::routerrpc::SendPaymentRequest;

use super::{AGREE_LIMIT, Network};
use crate::node::Software;
use crate::wait::{Hopeless, wait_for};

impl Network {
    /// Pays, retrying while there is no route, until the payer knows all channels. Returns the final state
    /// of the payment: succeeded, or failed for another reason.
    pub async fn pay_routed(&self, payer: &str, request: &SendPaymentRequest) -> Result<Payment> {
        let api = self[payer].api()?;
        wait_for("a route", AGREE_LIMIT, async || {
            let paid = api.pay(request.clone()).await;
            let payment = paid
                .map_err(|error| Hopeless(format!("{payer} cannot send the payment: {error}")))?;
            ensure!(
                !self.knows_no_route(payer, &payment),
                "{payer} finds no route"
            );
            Ok(payment)
        })
        .await
    }

    /// lnd also reports insufficient balance while its own channel is not in its graph.
    fn knows_no_route(&self, payer: &str, payment: &Payment) -> bool {
        match payment.failure_reason() {
            PaymentFailureReason::FailureReasonNoRoute => true,
            PaymentFailureReason::FailureReasonInsufficientBalance => {
                self[payer].software() == Software::Lnd
            }
            _ => false,
        }
    }

    /// Like [`Network::pay_routed`], but the payment must succeed.
    pub async fn pay(&self, payer: &str, request: &SendPaymentRequest) -> Result<Payment> {
        let payment = self.pay_routed(payer, request).await?;
        if payment.status() != PaymentStatus::Succeeded {
            bail!(
                "{payer}'s payment failed: {}",
                payment.failure_reason().as_str_name()
            );
        }
        Ok(payment)
    }

    /// Waits until no channel of a running node has an HTLC.
    pub async fn wait_settled(&self, limit: Duration) -> Result<()> {
        for node in self.running() {
            wait_for(
                &format!("{}'s HTLCs to be resolved", node.name()),
                limit,
                async || {
                    for channel in node.channels().await? {
                        let held = channel.pending_htlcs.len();
                        ensure!(held == 0, "{held} HTLCs on {}", self.describe(&channel));
                    }
                    Ok(())
                },
            )
            .await?;
        }
        Ok(())
    }

    /// Checks that both ends of each channel report the same balances, to the satoshi for each channel
    /// and to the msat in total. No HTLC may be in flight. Returns the sum of all local balances and
    /// commitment fees in msat, which neither payments nor fee updates must change.
    pub async fn check_balances(&self) -> Result<u64> {
        let (mut ends, mut local, mut remote) = (BTreeMap::new(), 0, 0);
        for node in self.running() {
            let (own, others) = node.balances_msat().await?;
            local += own;
            remote += others;
            for channel in node.channels().await? {
                let known: &mut Vec<Channel> =
                    ends.entry(channel.channel_point.clone()).or_default();
                known.push(channel);
            }
        }
        let mut fees_sat = 0;
        for (point, ends) in ends {
            check_ends(&point, &ends)?;
            // Core Lightning does not report it.
            let fee = ends.iter().map(|end| end.commit_fee).max().unwrap_or(0);
            fees_sat += u64::try_from(fee)?;
        }
        ensure!(
            local == remote,
            "the local balances of all nodes add up to {local} msat, but their peers report {remote}"
        );
        Ok(local + 1_000 * fees_sat)
    }
}

fn check_ends(point: &str, ends: &[Channel]) -> Result<()> {
    let [one, other] = ends else {
        bail!(
            "the channel {point} is open at {} ends instead of 2",
            ends.len()
        );
    };
    ensure!(
        one.local_balance == other.remote_balance && one.remote_balance == other.local_balance,
        "the ends of the channel {point} disagree: {} and {} sat, or {} and {} sat",
        one.local_balance,
        one.remote_balance,
        other.remote_balance,
        other.local_balance,
    );
    Ok(())
}
