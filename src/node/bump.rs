//! Fee bumping of commitment and HTLC transactions of anchor channels, paid by the wallet.
//!
//! LDK's handler builds these transactions, but does nothing if the wallet cannot meet the target fee rate.
//! So its attempts are intercepted here: the commitment is broadcast in any case, and fees are paid as far
//! as the coins suffice. LDK repeats each claim every 30 s and raises its target as blocks pass, so a claim
//! is bumped once more coins are available. Every attempt is sent to bitcoind, which keeps the one with the
//! highest fee (BIP 125), so a worse one never replaces a better one.

mod coins;
mod outbox;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{OutPoint, Transaction};
use lightning::chain::ClaimId;
use lightning::events::bump_transaction::BumpTransactionEvent;
use lightning::events::bump_transaction::sync::BumpTransactionEventHandlerSync;
use lightning::sign::HTLCDescriptor;

use crate::chain::FeeEstimates;
use crate::ldk::{Broadcaster, KeysManager};
use crate::sync::lock;
use crate::wallet::{Claim, Wallet};
use coins::Coins;
use outbox::{Outbox, QuietLogger};

/// Weight of an anchor spend with one wallet input and change (BOLT 3, as in LDK's
/// `anchor_channel_reserves`).
const CHILD_WEIGHT: u64 = 717;
/// Weight of an HTLC transaction with one wallet input and change, for the heavier of the two types.
const HTLC_TX_WEIGHT: u64 = 706 + 272 + 124;
/// Weight that an HTLC adds to a transaction that claims several.
const HTLC_WEIGHT: u64 = 706;

/// LDK's handler, with its broadcasts collected in our outbox.
type LdkHandler =
    BumpTransactionEventHandlerSync<Arc<Outbox>, Arc<Coins>, Arc<KeysManager>, Arc<QuietLogger>>;

/// Bumps the fees of our commitment and HTLC transactions with coins of the wallet.
pub(super) struct Bumper {
    wallet: Arc<Wallet>,
    fees: Arc<FeeEstimates>,
    broadcaster: Arc<Broadcaster>,
    handler: LdkHandler,
    coins: Arc<Coins>,
    outbox: Arc<Outbox>,
    /// The last log line of each claim, so that it is not repeated every 30 s. The lock also serializes
    /// events.
    logged: Mutex<HashMap<ClaimId, String>>,
}

impl Bumper {
    pub(super) fn new(
        wallet: Arc<Wallet>,
        fees: Arc<FeeEstimates>,
        keys: Arc<KeysManager>,
        broadcaster: Arc<Broadcaster>,
    ) -> Self {
        let coins = Arc::new(Coins::new(wallet.clone()));
        let outbox = Arc::new(Outbox::default());
        let handler = LdkHandler::new(outbox.clone(), coins.clone(), keys, Arc::new(QuietLogger));
        Self {
            wallet,
            fees,
            broadcaster,
            handler,
            coins,
            outbox,
            logged: Mutex::default(),
        }
    }

    /// Broadcasts the event's transactions with as much of the fee as the wallet can pay.
    pub(super) fn handle_event(&self, event: &BumpTransactionEvent) {
        let mut logged = lock(&self.logged);
        let (claim_id, outcome) = match event {
            BumpTransactionEvent::ChannelClose { claim_id, .. } => (*claim_id, self.close(event)),
            BumpTransactionEvent::HTLCResolution { claim_id, .. } => {
                (*claim_id, self.claim_htlcs(event))
            }
        };
        if logged.get(&claim_id) != Some(&outcome) {
            tracing::info!("{outcome}");
            // Entries of finished claims are never removed one by one.
            if logged.len() >= MAX_LOGGED {
                logged.clear();
            }
            logged.insert(claim_id, outcome);
        }
    }

    /// Broadcasts the commitment, with a child that pays for it if the wallet can afford one. Returns the
    /// log line.
    fn close(&self, event: &BumpTransactionEvent) -> String {
        let BumpTransactionEvent::ChannelClose {
            claim_id,
            package_target_feerate_sat_per_1000_weight: target,
            commitment_tx,
            commitment_tx_fee_satoshis,
            pending_htlcs,
            channel_id,
            ..
        } = event
        else {
            return String::new();
        };
        self.broadcaster.broadcast_transactions(&[commitment_tx]);
        let mempool_min = self.fees.mempool_min_sat_per_kw();
        let target = (*target).max(mempool_min);
        let weight = commitment_tx.weight().to_wu();
        let own_rate = rate(*commitment_tx_fee_satoshis, weight);
        let txid = commitment_tx.compute_txid();
        let alone = format!("broadcasting commitment {txid} to force-close channel {channel_id}");
        if own_rate >= target {
            return alone;
        }
        let claim = Claim {
            id: claim_id.0,
            urgent: !pending_htlcs.is_empty(),
        };
        let amounts: Vec<u64> = pending_htlcs.iter().map(|htlc| htlc.amount_msat).collect();
        let later = later_weight(&amounts, target);
        // Not above the target, which is above the commitment's own rate.
        let min_rate = mempool_min.max(own_rate.saturating_add(1));
        let max_rate = if later == 0 {
            target
        } else {
            let budget = self.total_value_for(claim) + commitment_tx_fee_satoshis;
            rate(budget, weight + CHILD_WEIGHT + later).clamp(min_rate, target)
        };
        let paid = self.pay_best_rate(claim, max_rate, min_rate, |rate| with_target(event, rate));
        match paid {
            Some((rate, _)) => at_rate(&alone, rate, target),
            None => format!(
                "{alone} at its own {own_rate} sat/kW; the wallet has no coins to raise it to {target}: \
                 send coins to it"
            ),
        }
    }

    /// Claims HTLCs: all in one transaction, or the most valuable ones if the coins do not suffice for all.
    /// Returns the log line.
    fn claim_htlcs(&self, event: &BumpTransactionEvent) -> String {
        let BumpTransactionEvent::HTLCResolution {
            claim_id,
            target_feerate_sat_per_1000_weight: target,
            htlc_descriptors,
            channel_id,
            ..
        } = event
        else {
            return String::new();
        };
        let mempool_min = self.fees.mempool_min_sat_per_kw();
        let target = (*target).max(mempool_min);
        let mut htlcs = htlc_descriptors.clone();
        // The others cost more than they are worth.
        htlcs.retain(|htlc| max_worthwhile_rate_alone(htlc) >= mempool_min);
        htlcs.sort_by_key(|htlc| std::cmp::Reverse(htlc.htlc.amount_msat));
        let count = htlcs.len();
        let alone = |htlc: &HTLCDescriptor| {
            // Once broadcast alone, an HTLC stays alone: a combined transaction would have to pay more than
            // all those that it replaces.
            self.wallet.is_claiming(single_id(*claim_id, htlc).0)
                || max_worthwhile_rate(htlc) < target
        };
        let (mut rest, together): (Vec<_>, Vec<_>) = htlcs.into_iter().partition(alone);
        let covered = self.claim_together(event, *claim_id, target, &together);
        let is_covered = |htlc: &HTLCDescriptor| covered.contains(&htlc.outpoint());
        rest.extend(together.into_iter().filter(|htlc| !is_covered(htlc)));
        rest.sort_by_key(|htlc| std::cmp::Reverse(htlc.htlc.amount_msat));
        let rates: Vec<Option<u32>> = rest
            .into_iter()
            .map(|htlc| self.claim_alone(event, *claim_id, target, htlc))
            .collect();
        let lowest = rates.iter().flatten().fold(target, |a, b| a.min(*b));
        let unpaid = rates.iter().filter(|rate| rate.is_none()).count();
        let all = format!("claiming {count} HTLCs of channel {channel_id} on chain");
        match unpaid {
            0 => at_rate(&all, lowest, target),
            _ => format!("{all}; the wallet has no coins for {unpaid} of them: send coins to it"),
        }
    }

    /// Claims as many HTLCs in one transaction as can be paid for, the most valuable first. Returns the
    /// outpoints that it spends.
    fn claim_together(
        &self,
        event: &BumpTransactionEvent,
        id: ClaimId,
        target: u32,
        htlcs: &[HTLCDescriptor],
    ) -> Vec<OutPoint> {
        let claim = Claim {
            id: id.0,
            urgent: true,
        };
        let min_rate = (target / 2).max(self.fees.mempool_min_sat_per_kw());
        let mut count = htlcs.len();
        while count > 1 {
            let group = &htlcs[..count];
            let paid = self.pay_best_rate(claim, target, min_rate, |rate| {
                with_htlcs(event, id, rate, group.to_vec())
            });
            if let Some((_, txs)) = paid {
                let inputs = txs.iter().flatten().flat_map(|tx| &tx.input);
                return inputs.map(|input| input.previous_output).collect();
            }
            count /= 2;
        }
        Vec::new()
    }

    /// Claims one HTLC in its own transaction, which may cost as much as the HTLC is worth. Returns its fee
    /// rate, in sat per 1000 weight units, or `None` if the wallet cannot pay.
    fn claim_alone(
        &self,
        event: &BumpTransactionEvent,
        id: ClaimId,
        target: u32,
        htlc: HTLCDescriptor,
    ) -> Option<u32> {
        let id = single_id(id, &htlc);
        let claim = Claim {
            id: id.0,
            urgent: true,
        };
        let max_rate = target.min(max_worthwhile_rate_alone(&htlc));
        let min_rate = self.fees.mempool_min_sat_per_kw();
        let one = vec![htlc];
        let paid = self.pay_best_rate(claim, max_rate, min_rate, |rate| {
            with_htlcs(event, id, rate, one.clone())
        });
        paid.map(|(rate, _)| rate)
    }

    /// Lets LDK pay `max_rate`, or the highest lower rate that the coins allow, down to `min_rate`, in sat
    /// per 1000 weight units. Broadcasts the transactions and returns them with their rate.
    fn pay_best_rate(
        &self,
        claim: Claim,
        max_rate: u32,
        min_rate: u32,
        event: impl Fn(u32) -> BumpTransactionEvent,
    ) -> Option<(u32, Vec<Vec<Transaction>>)> {
        let mut next = Some(max_rate);
        while let Some(rate) = next.filter(|rate| *rate >= min_rate) {
            self.coins.begin(claim, min_rate);
            let event = event(rate);
            self.handler.handle_event(&event);
            let packages = self.outbox.take();
            if is_paid(&event, &packages) {
                for txs in &packages {
                    let txs: Vec<&Transaction> = txs.iter().collect();
                    self.broadcaster.broadcast_transactions(&txs);
                }
                return Some((rate, packages));
            }
            next = self.coins.affordable().filter(|lower| *lower < rate);
        }
        None
    }

    /// The total value of the coins that this claim may use, in sat.
    fn total_value_for(&self, claim: Claim) -> u64 {
        let coins = self.wallet.coins_for(claim, claim.urgent);
        coins.iter().map(|coin| coin.output.value.to_sat()).sum()
    }
}

/// Maximum number of claims whose last log line is kept.
const MAX_LOGGED: usize = 1_000;

/// Whether LDK has built a paying transaction: a child of the commitment, or any HTLC transaction.
fn is_paid(event: &BumpTransactionEvent, packages: &[Vec<Transaction>]) -> bool {
    match event {
        BumpTransactionEvent::ChannelClose { .. } => packages.iter().any(|txs| txs.len() > 1),
        BumpTransactionEvent::HTLCResolution { .. } => !packages.is_empty(),
    }
}

/// The total weight of the HTLC transactions that follow the commitment, of those worth their fee.
fn later_weight(amounts_msat: &[u64], target: u32) -> u64 {
    let is_worthwhile = |msat: &&u64| rate(**msat / 1_000, HTLC_TX_WEIGHT) >= target;
    let count = amounts_msat.iter().filter(is_worthwhile).count();
    HTLC_TX_WEIGHT.saturating_mul(u64::try_from(count).unwrap_or(u64::MAX))
}

/// The fee rate at which an HTLC's share of a combined transaction costs its whole value.
fn max_worthwhile_rate(htlc: &HTLCDescriptor) -> u32 {
    rate(htlc.htlc.amount_msat / 1_000, HTLC_WEIGHT)
}

/// The fee rate at which a transaction for this HTLC alone costs its whole value.
fn max_worthwhile_rate_alone(htlc: &HTLCDescriptor) -> u32 {
    rate(htlc.htlc.amount_msat / 1_000, HTLC_TX_WEIGHT)
}

/// Returns the log line of a broadcast at `rate`, in sat/kW, which may be less than LDK asked for.
fn at_rate(what: &str, rate: u32, target: u32) -> String {
    if rate >= target {
        format!("{what} at {rate} sat/kW")
    } else {
        format!("{what} at {rate} sat/kW; the wallet cannot pay {target}: send coins to it")
    }
}

/// A fee rate, in sat per 1000 weight units.
fn rate(fee_sat: u64, weight: u64) -> u32 {
    let rate = fee_sat.saturating_mul(1_000) / weight.max(1);
    u32::try_from(rate).unwrap_or(u32::MAX)
}

/// The claim id for claiming one HTLC alone.
fn single_id(id: ClaimId, htlc: &HTLCDescriptor) -> ClaimId {
    let mut engine = sha256::Hash::engine();
    engine.input(&id.0);
    let outpoint = htlc.outpoint();
    engine.input(outpoint.txid.as_byte_array());
    engine.input(&outpoint.vout.to_be_bytes());
    ClaimId(sha256::Hash::from_engine(engine).to_byte_array())
}

/// The event with another target fee rate, in sat per 1000 weight units.
fn with_target(event: &BumpTransactionEvent, rate: u32) -> BumpTransactionEvent {
    let mut changed = event.clone();
    match &mut changed {
        BumpTransactionEvent::ChannelClose {
            package_target_feerate_sat_per_1000_weight: target,
            ..
        }
        | BumpTransactionEvent::HTLCResolution {
            target_feerate_sat_per_1000_weight: target,
            ..
        } => *target = rate,
    }
    changed
}

/// The event with another claim id and rate, for these HTLCs only.
fn with_htlcs(
    event: &BumpTransactionEvent,
    id: ClaimId,
    rate: u32,
    htlcs: Vec<HTLCDescriptor>,
) -> BumpTransactionEvent {
    let mut changed = with_target(event, rate);
    if let BumpTransactionEvent::HTLCResolution {
        claim_id,
        htlc_descriptors,
        ..
    } = &mut changed
    {
        *claim_id = id;
        *htlc_descriptors = htlcs;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_weight_counts_only_htlcs_worth_their_fee() {
        // 1,102 WU at 1,000 sat/kW cost 1,102 sat.
        assert_eq!(
            later_weight(&[1_101_000, 1_102_000, 9_000_000], 1_000),
            2 * HTLC_TX_WEIGHT
        );
        assert_eq!(later_weight(&[], 1_000), 0);
    }

    #[test]
    fn rates_do_not_overflow() {
        assert_eq!(rate(500, 1_000), 500);
        assert_eq!([rate(u64::MAX, 1), rate(1, 0)], [u32::MAX, 1_000]);
    }
}
