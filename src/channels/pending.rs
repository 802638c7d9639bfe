//! Pending channels: waiting for their funding, for their close, or for our funds.
//!
//! LDK's `ChannelManager` has removed a closed channel, but its monitor still knows our on-chain
//! balances. The other data that lnd shows (peer, capacity, initiator) comes from our record of the
//! closed channel.

use bitcoin::{OutPoint, Txid};
use lightning::chain::channelmonitor::{Balance, BalanceSource};
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;

use super::closed::{CloseType, ClosedChannel};
use super::closing_transaction::ClosingTransaction;
use super::funding_spends::FundingSpends;
use super::list::{Channel, ChannelState, channels};
use super::sweeping::Sweeping;
use crate::ldk::{ChainMonitor, ChannelManager};

/// All channels that are being opened or closed.
#[derive(Debug, Default)]
pub struct Pending {
    pub opening: Vec<Channel>,
    pub waiting_close: Vec<WaitingClose>,
    pub force_closing: Vec<ForceClosing>,
}

impl Pending {
    /// Returns whether this closed channel is still being resolved on chain.
    pub fn is_resolving(&self, closed: &ChannelId) -> bool {
        let waiting = self.waiting_close.iter().map(|waiting| &waiting.channel);
        let forced = self.force_closing.iter().map(|forced| &forced.channel);
        waiting.chain(forced).any(|subject| match subject {
            Subject::Channel(managed) => managed.channel_id == *closed,
            Subject::Record { channel_id, .. } => channel_id == closed,
        })
    }

    /// Returns the sum of our funds that are not in the wallet yet, in sat.
    pub fn total_limbo_sat(&self) -> u64 {
        let waiting = self.waiting_close.iter().map(|channel| channel.limbo_sat);
        let forced = self.force_closing.iter().map(|channel| channel.limbo_sat);
        waiting.chain(forced).fold(0, u64::saturating_add)
    }
}

/// The channel of a pending close.
#[derive(Debug, Clone)]
pub enum Subject {
    /// Still managed by LDK: a cooperative close is being negotiated.
    Channel(Box<Channel>),
    /// Closed. The record exists unless it was lost with the database.
    Record {
        channel_id: ChannelId,
        channel_point: OutPoint,
        record: Option<Box<ClosedChannel>>,
    },
}

/// A close whose transaction is unconfirmed or has too few confirmations.
#[derive(Debug, Clone)]
pub struct WaitingClose {
    pub channel: Subject,
    /// The amount that we expect to receive, in sat.
    pub limbo_sat: u64,
    /// The transaction that we have broadcast or seen.
    pub closing: Option<ClosingTransaction>,
    /// The height at which the close is final; `None` while the transaction is unconfirmed.
    pub final_height: Option<u32>,
}

/// A force close whose commitment transaction is confirmed.
#[derive(Debug, Clone)]
pub struct ForceClosing {
    pub channel: Subject,
    pub closing_txid: Option<Txid>,
    /// The amount, in sat, that is or may become ours and is not in the wallet yet.
    pub limbo_sat: u64,
    /// The height at which the last of our time-locked outputs matures; `None` if there are none.
    pub maturity_height: Option<u32>,
    pub htlcs: Vec<HtlcOnChain>,
}

/// An HTLC of a confirmed commitment transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HtlcOnChain {
    pub incoming: bool,
    pub amount_sat: u64,
    pub payment_hash: PaymentHash,
    /// The height from which our timeout (outgoing HTLC) or the peer's (incoming) can claim it.
    pub expiry_height: u32,
}

/// Returns all channels that are being opened or closed.
///
/// `closed` are our records of closed channels (those whose channels still have a monitor suffice),
/// `sweeping` the outputs that the sweeper has not yet confirmed.
pub fn pending(
    manager: &ChannelManager,
    monitors: &ChainMonitor,
    spends: &FundingSpends,
    closed: &[ClosedChannel],
    sweeping: &[Sweeping],
) -> Pending {
    let mut pending = Pending::default();
    let managed = channels(manager);
    let mut resolving = monitors.list_monitors();
    resolving.retain(|id| managed.iter().all(|channel| channel.channel_id != *id));
    resolving.sort_by_key(|id| id.0);
    for channel in managed {
        match channel.state {
            ChannelState::Open => {}
            ChannelState::Opening => pending.opening.extend(funded(channel)),
            ChannelState::Closing => pending.waiting_close.push(negotiating(channel, spends)),
        }
    }
    for channel_id in resolving {
        let Ok(monitor) = monitors.get_monitor(channel_id) else {
            continue;
        };
        let channel_point = monitor.get_funding_txo().into_bitcoin_outpoint();
        let record = closed.iter().find(|record| record.channel_id == channel_id);
        let record = record.cloned().map(Box::new);
        let known = record.as_ref().and_then(|record| record.closing);
        let closing = spends.closing_transaction(&channel_point).or(known);
        let subject = Subject::Record {
            channel_id,
            channel_point,
            record,
        };
        let swept_sat = swept_sat(sweeping, &subject);
        let resolution = Resolution::of(&monitor.get_claimable_balances(), swept_sat);
        pending.add_resolving(subject, closing, resolution);
    }
    pending
}

impl Pending {
    /// Adds a channel that LDK has closed and whose outputs may not all be ours yet.
    fn add_resolving(
        &mut self,
        channel: Subject,
        closing: Option<ClosingTransaction>,
        resolution: Resolution,
    ) {
        match resolution {
            Resolution::Over => {}
            Resolution::Waiting {
                limbo_sat,
                final_height,
            } => self.waiting_close.push(WaitingClose {
                channel,
                limbo_sat,
                closing,
                final_height,
            }),
            Resolution::Forced {
                limbo_sat,
                maturity_height,
                htlcs,
            } => self.force_closing.push(ForceClosing {
                channel,
                closing_txid: closing.map(|closing| closing.txid),
                limbo_sat,
                maturity_height,
                htlcs,
            }),
        }
    }
}

/// Skips channels without a funding transaction: they have no channel point to show.
fn funded(channel: Channel) -> Option<Channel> {
    channel.channel_point.is_some().then_some(channel)
}

fn negotiating(channel: Channel, spends: &FundingSpends) -> WaitingClose {
    let point = channel.channel_point;
    WaitingClose {
        limbo_sat: channel.local_balance_sat(),
        closing: point.and_then(|point| spends.closing_transaction(&point)),
        final_height: None,
        channel: Subject::Channel(Box::new(channel)),
    }
}

/// Returns the amount that the sweeper still holds of a force-closed channel, in sat. A cooperative
/// close is complete once it is deep in the chain, as in lnd, where its output belongs to the
/// wallet from the start.
fn swept_sat(sweeping: &[Sweeping], subject: &Subject) -> u64 {
    let Subject::Record {
        channel_id, record, ..
    } = subject
    else {
        return 0;
    };
    if record
        .as_ref()
        .is_some_and(|record| record.close_type == CloseType::Cooperative)
    {
        return 0;
    }
    let outputs = sweeping
        .iter()
        .filter(|output| output.channel_id == *channel_id);
    outputs
        .map(|output| output.amount_sat)
        .fold(0, u64::saturating_add)
}

/// The state of a closed channel according to the balances of its monitor.
#[derive(Debug, PartialEq, Eq)]
enum Resolution {
    Over,
    Waiting {
        limbo_sat: u64,
        final_height: Option<u32>,
    },
    Forced {
        limbo_sat: u64,
        maturity_height: Option<u32>,
        htlcs: Vec<HtlcOnChain>,
    },
}

impl Resolution {
    fn of(balances: &[Balance], swept_sat: u64) -> Self {
        let sum =
            |balances: &[Balance]| balances.iter().map(amount_sat).fold(0, u64::saturating_add);
        let unconfirmed = balances
            .iter()
            .find(|b| matches!(b, Balance::ClaimableOnChannelClose { .. }));
        if let Some(unconfirmed) = unconfirmed {
            let limbo_sat = unconfirmed.claimable_amount_satoshis();
            return Self::Waiting {
                limbo_sat,
                final_height: None,
            };
        }
        if balances.is_empty() && swept_sat == 0 {
            return Self::Over;
        }
        let cooperative = balances.iter().find_map(|balance| match balance {
            Balance::ClaimableAwaitingConfirmations {
                confirmation_height,
                source: BalanceSource::CoopClose,
                ..
            } => Some(*confirmation_height),
            _ => None,
        });
        if let Some(final_height) = cooperative {
            return Self::Waiting {
                limbo_sat: sum(balances),
                final_height: Some(final_height),
            };
        }
        Self::Forced {
            limbo_sat: sum(balances).saturating_add(swept_sat),
            maturity_height: balances.iter().filter_map(maturity).max(),
            htlcs: balances.iter().filter_map(htlc).collect(),
        }
    }
}

/// Returns the amount, in sat, that a balance may yield. HTLCs whose preimage we lack are not ours.
fn amount_sat(balance: &Balance) -> u64 {
    match balance {
        // LDK excludes these from its own sum; after the timeout the amount is ours again.
        Balance::MaybeTimeoutClaimableHTLC {
            amount_satoshis, ..
        } => *amount_satoshis,
        other => other.claimable_amount_satoshis(),
    }
}

fn maturity(balance: &Balance) -> Option<u32> {
    match balance {
        Balance::ClaimableAwaitingConfirmations {
            confirmation_height,
            ..
        } => Some(*confirmation_height),
        _ => None,
    }
}

fn htlc(balance: &Balance) -> Option<HtlcOnChain> {
    let (incoming, amount_satoshis, payment_hash, expiry_height) = match balance {
        Balance::ContentiousClaimable {
            amount_satoshis,
            payment_hash,
            timeout_height,
            ..
        } => (true, amount_satoshis, payment_hash, timeout_height),
        Balance::MaybePreimageClaimableHTLC {
            amount_satoshis,
            payment_hash,
            expiry_height,
        } => (true, amount_satoshis, payment_hash, expiry_height),
        Balance::MaybeTimeoutClaimableHTLC {
            amount_satoshis,
            payment_hash,
            claimable_height,
            ..
        } => (false, amount_satoshis, payment_hash, claimable_height),
        Balance::ClaimableOnChannelClose { .. }
        | Balance::ClaimableAwaitingConfirmations { .. }
        | Balance::CounterpartyRevokedOutputClaimable { .. } => return None,
    };
    Some(HtlcOnChain {
        incoming,
        amount_sat: *amount_satoshis,
        payment_hash: *payment_hash,
        expiry_height: *expiry_height,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaiting(amount_satoshis: u64, height: u32, source: BalanceSource) -> Balance {
        Balance::ClaimableAwaitingConfirmations {
            amount_satoshis,
            confirmation_height: height,
            source,
        }
    }

    fn timed_out(amount_satoshis: u64) -> Balance {
        Balance::MaybeTimeoutClaimableHTLC {
            amount_satoshis,
            claimable_height: 300,
            payment_hash: PaymentHash([1; 32]),
            outbound_payment: true,
        }
    }

    #[test]
    fn closed_channel_without_balances_is_resolved() {
        assert_eq!(Resolution::of(&[], 0), Resolution::Over);
    }

    #[test]
    fn cooperative_close_is_pending_until_final() {
        let balances = [awaiting(500, 120, BalanceSource::CoopClose)];
        let expected = Resolution::Waiting {
            limbo_sat: 500,
            final_height: Some(120),
        };
        assert_eq!(Resolution::of(&balances, 0), expected);
    }

    #[test]
    fn force_close_counts_time_locked_htlcs_and_swept_outputs() {
        let balances = [
            awaiting(500, 244, BalanceSource::HolderForceClosed),
            timed_out(70),
        ];
        let Resolution::Forced {
            limbo_sat,
            maturity_height,
            htlcs,
        } = Resolution::of(&balances, 30)
        else {
            panic!("a confirmed commitment transaction is a force close");
        };
        assert_eq!((limbo_sat, maturity_height), (600, Some(244)));
        assert_eq!(htlcs.len(), 1);
        assert!(!htlcs[0].incoming);
        assert_eq!((htlcs[0].amount_sat, htlcs[0].expiry_height), (70, 300));
    }

    #[test]
    fn output_held_by_the_sweeper_is_pending() {
        let expected = Resolution::Forced {
            limbo_sat: 30,
            maturity_height: None,
            htlcs: Vec::new(),
        };
        assert_eq!(Resolution::of(&[], 30), expected);
    }
}
