//! The record of a channel that is no more, and why.

use bitcoin::OutPoint;
use bitcoin::secp256k1::PublicKey;
use lightning::events::ClosureReason;
use lightning::ln::types::ChannelId;
use serde::{Deserialize, Serialize};

use super::id::UserChannelId;
use super::spends::{AgreedClose, ClosingKind, ClosingTransaction};
use crate::logging::cut;

/// Bytes of the reason for a close that are kept and logged.
const MAX_REASON: usize = 500;

/// How a channel ended, in lnd's words. As in lnd the type follows the transaction that confirmed, whatever
/// LDK expected; see [`ClosedChannel::with_closing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseType {
    Cooperative,
    /// We broadcast our commitment.
    LocalForce,
    /// The peer broadcast its commitment, or made us broadcast ours by an error.
    RemoteForce,
    /// The funding transaction was never broadcast, or never confirmed.
    FundingCanceled,
}

/// Who ended the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseInitiator {
    Unknown,
    Local,
    Remote,
}

/// A channel that is no more. Enough to show it as lnd does, long after LDK forgot it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedChannel {
    #[serde(with = "super::rows::channel_id")]
    pub channel_id: ChannelId,
    pub channel_point: OutPoint,
    pub scid: Option<u64>,
    pub peer: Option<PublicKey>,
    pub capacity_sat: u64,
    /// What was ours when the channel was closed, msat, before the fees of the close.
    pub local_balance_msat: u64,
    /// Whether we opened the channel.
    pub initiator: bool,
    pub private: bool,
    pub close_type: CloseType,
    pub close_initiator: CloseInitiator,
    /// LDK's own words. They may quote the peer: LDK has made them printable.
    pub reason: String,
    /// Known from the broadcast, or from the block; later ones come by
    /// [`ClosedChannels::closing_transaction`].
    pub closing: Option<ClosingTransaction>,
}

impl ClosedChannel {
    /// With this closing transaction. Once it is in a block, it decides how the channel ended: after an
    /// error of the peer our commitment may confirm, or the peer's after our own.
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

/// Where closed channels are kept. All functions enqueue and return; they never wait.
pub trait ClosedChannels: Send + Sync {
    /// Keeps the record. LDK repeats an event after a crash: the same channel once more is not an
    /// error, and must not lose a closing transaction that is known.
    fn record(&self, channel: ClosedChannel);

    /// The closing transaction of a channel is known, has confirmed, or has lost its block. It may
    /// come before the record: the store keeps it by the channel's id, or waits for the record,
    /// which has it again.
    fn closing_transaction(&self, channel_id: ChannelId, closing: ClosingTransaction);

    /// Keeps a close that was agreed on, or what changed of it.
    fn agreed(&self, close: AgreedClose);

    /// The channel's end is buried in the chain: its agreed close is needed no more.
    fn buried(&self, channel_id: ChannelId);
}

/// LDK's `ChannelClosed`, field by field.
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
    /// The record, unless the channel never had a funding transaction: then it never was one.
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

    /// LDK's words. They may quote the peer, so they are cut.
    pub fn short_reason(&self) -> String {
        cut(&self.reason.to_string(), MAX_REASON).into_owned()
    }
}

/// LDK's reason in lnd's terms.
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
    fn record_keeps_what_ldk_forgets() {
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

    /// Records of earlier versions say nothing of the transaction's kind.
    #[test]
    fn the_transaction_that_confirms_decides_how_the_channel_ended() {
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
    fn force_close_before_the_broadcast_is_a_canceled_funding() {
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
