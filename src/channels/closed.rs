//! The record of a closed channel, and the reason for its close.

use bitcoin::OutPoint;
use bitcoin::secp256k1::PublicKey;
use lightning::events::ClosureReason;
use lightning::ln::types::ChannelId;
use serde::{Deserialize, Serialize};

use super::closing_transaction::{AgreedClose, ClosingKind, ClosingTransaction};
use super::user_channel_id::UserChannelId;
use crate::logging::cut;

/// The maximum length, in bytes, of the close reason that is stored and logged.
const MAX_REASON_BYTES: usize = 500;

/// How a channel ended, as lnd classifies it. As in lnd the type follows from the confirmed
/// transaction, not from what LDK expected; see [`ClosedChannel::with_closing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseType {
    Cooperative,
    /// We broadcast our commitment.
    LocalForce,
    /// The peer broadcast its commitment, or an error from the peer made us broadcast ours.
    RemoteForce,
    /// The funding transaction was never broadcast or never confirmed.
    FundingCanceled,
}

/// The side that closed the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseInitiator {
    Unknown,
    Local,
    Remote,
}

/// A closed channel, with everything that lnd shows of it; LDK has removed the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedChannel {
    #[serde(with = "super::channel_id_json")]
    pub channel_id: ChannelId,
    pub channel_point: OutPoint,
    pub scid: Option<u64>,
    pub peer: Option<PublicKey>,
    pub capacity_sat: u64,
    /// Our balance when the channel was closed, in msat, before closing fees.
    pub local_balance_msat: u64,
    /// Whether we opened the channel.
    pub initiator: bool,
    pub private: bool,
    pub close_type: CloseType,
    pub close_initiator: CloseInitiator,
    /// The reason given by LDK. It may quote the peer; LDK has made the quote printable.
    pub reason: String,
    /// Known from the broadcast or from the block. Later transactions are reported by
    /// [`ClosedChannels::closing_transaction`].
    pub closing: Option<ClosingTransaction>,
}

impl ClosedChannel {
    /// Returns the record with this closing transaction. Once confirmed, the transaction determines
    /// how the channel ended: after an error from the peer our commitment may confirm, or the
    /// peer's after our own.
    #[must_use]
    pub fn with_closing(self, closing: ClosingTransaction) -> Self {
        let confirmed = closing.kind.filter(|_| closing.height.is_some());
        let close_type = match confirmed {
            Some(ClosingKind::Cooperative) => CloseType::Cooperative,
            Some(ClosingKind::OurCommitment) => CloseType::LocalForce,
            Some(ClosingKind::TheirCommitment) => CloseType::RemoteForce,
            None => self.close_type,
        };
        Self {
            close_type,
            closing: Some(closing),
            ..self
        }
    }
}

/// Storage for closed channels. All functions enqueue a write and return without waiting.
pub trait ClosedChannels: Send + Sync {
    /// Stores the record. LDK repeats events after a crash: recording a channel again is not an
    /// error, and must not remove a known closing transaction.
    fn record(&self, channel: ClosedChannel);

    /// Stores the closing transaction of a channel when it becomes known, is confirmed, or is
    /// reorganized out of the chain. This may be called before the record is stored: the
    /// implementation keeps the transaction by channel id, or waits for the record, which includes
    /// it.
    fn closing_transaction(&self, channel_id: ChannelId, closing: ClosingTransaction);

    /// Stores an agreed cooperative close, or an update of it.
    fn agreed(&self, close: AgreedClose);

    /// Removes the agreed close of a channel whose closing transaction is buried deep in the chain.
    fn buried(&self, channel_id: ChannelId);
}

/// The fields of LDK's `ChannelClosed` event.
#[derive(Debug, Clone)]
pub struct Closure {
    pub channel_id: ChannelId,
    pub user_channel_id: u128,
    pub reason: ClosureReason,
    pub counterparty_node_id: Option<PublicKey>,
    pub channel_capacity_sats: Option<u64>,
    pub channel_funding_txo: Option<OutPoint>,
    pub last_local_balance_msat: Option<u64>,
}

impl Closure {
    /// Returns the record, or `None` if the channel never had a funding transaction.
    pub fn record(&self) -> Option<ClosedChannel> {
        let channel_point = self.channel_funding_txo?;
        let facts = UserChannelId::from(self.user_channel_id);
        let (close_type, close_initiator) = classify(&self.reason);
        Some(ClosedChannel {
            channel_id: self.channel_id,
            channel_point,
            scid: None,
            peer: self.counterparty_node_id,
            capacity_sat: self.channel_capacity_sats.unwrap_or(0),
            local_balance_msat: self.last_local_balance_msat.unwrap_or(0),
            initiator: facts.is_initiator(),
            private: facts.is_private(),
            close_type,
            close_initiator,
            reason: self.short_reason(),
            closing: None,
        })
    }

    /// Returns LDK's reason, truncated because it may quote the peer.
    pub fn short_reason(&self) -> String {
        cut(&self.reason.to_string(), MAX_REASON_BYTES).into_owned()
    }
}

/// Classifies LDK's reason as lnd does.
pub fn classify(reason: &ClosureReason) -> (CloseType, CloseInitiator) {
    use CloseInitiator::{Local, Remote, Unknown};
    use CloseType::{Cooperative, FundingCanceled, LocalForce, RemoteForce};
    match reason {
        ClosureReason::LegacyCooperativeClosure => (Cooperative, Unknown),
        ClosureReason::LocallyInitiatedCooperativeClosure => (Cooperative, Local),
        ClosureReason::CounterpartyInitiatedCooperativeClosure => (Cooperative, Remote),
        ClosureReason::HolderForceClosed {
            broadcasted_latest_txn: Some(false),
            ..
        } => (FundingCanceled, Local),
        ClosureReason::HolderForceClosed { .. }
        | ClosureReason::ProcessingError { .. }
        | ClosureReason::OutdatedChannelManager
        | ClosureReason::HTLCsTimedOut { .. }
        | ClosureReason::PeerFeerateTooLow { .. } => (LocalForce, Local),
        ClosureReason::CounterpartyForceClosed { .. } | ClosureReason::CommitmentTxConfirmed => {
            (RemoteForce, Remote)
        }
        ClosureReason::LocallyCoopClosedUnfundedChannel => (FundingCanceled, Local),
        ClosureReason::CounterpartyCoopClosedUnfundedChannel => (FundingCanceled, Remote),
        ClosureReason::FundingTimedOut
        | ClosureReason::DisconnectedPeer
        | ClosureReason::FundingBatchClosure => (FundingCanceled, Unknown),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Txid;
    use bitcoin::hashes::Hash;
    use lightning::types::string::UntrustedString;

    use super::*;

    fn closure(reason: ClosureReason) -> Closure {
        Closure {
            channel_id: ChannelId([7; 32]),
            user_channel_id: UserChannelId::draw(true, true).unwrap().value(),
            reason,
            counterparty_node_id: None,
            channel_capacity_sats: Some(400_000),
            channel_funding_txo: Some(OutPoint::null()),
            last_local_balance_msat: Some(1_234_567),
        }
    }

    #[test]
    fn record_keeps_the_channels_data() {
        let reason = ClosureReason::LocallyInitiatedCooperativeClosure;
        let record = closure(reason).record().unwrap();
        assert!(record.initiator && record.private);
        assert_eq!(record.close_type, CloseType::Cooperative);
        assert_eq!(record.close_initiator, CloseInitiator::Local);
        assert_eq!(
            (record.capacity_sat, record.local_balance_msat),
            (400_000, 1_234_567)
        );
    }

    /// Records written by earlier versions lack the kind of the transaction.
    #[test]
    fn confirmed_transaction_determines_the_close_type() {
        let closing = |height, kind| ClosingTransaction {
            txid: Txid::all_zeros(),
            height,
            kind,
        };
        let force = ClosureReason::CounterpartyForceClosed {
            peer_msg: UntrustedString(String::new()),
        };
        let ended = |height, kind| {
            let record = closure(force.clone()).record().unwrap();
            record.with_closing(closing(height, kind)).close_type
        };
        let ours = Some(ClosingKind::OurCommitment);
        assert_eq!(ended(None, ours), CloseType::RemoteForce);
        assert_eq!(ended(Some(7), ours), CloseType::LocalForce);
        assert_eq!(ended(Some(7), None), CloseType::RemoteForce);
        let agreed = Some(ClosingKind::Cooperative);
        assert_eq!(ended(Some(7), agreed), CloseType::Cooperative);
    }

    #[test]
    fn channel_without_funding_leaves_no_record() {
        let mut closure = closure(ClosureReason::DisconnectedPeer);
        closure.channel_funding_txo = None;
        assert_eq!(closure.record(), None);
    }

    #[test]
    fn force_close_before_the_broadcast_is_funding_canceled() {
        let close = |broadcasted_latest_txn| {
            let message = String::new();
            classify(&ClosureReason::HolderForceClosed {
                broadcasted_latest_txn,
                message,
            })
            .0
        };
        assert_eq!(close(Some(false)), CloseType::FundingCanceled);
        assert_eq!(close(Some(true)), CloseType::LocalForce);
    }
}
