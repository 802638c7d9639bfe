//! Channel fields that lnd's open, pending and closed channel lists share.

use crate::channels::closed::{CloseInitiator, CloseType};
use crate::channels::list;
use lnd_api::proto::lnrpc;

/// The dust limit of anchor commitments, in sat (BOLT 3; LDK's and lnd's value).
pub(super) const DUST_LIMIT_SAT: u64 = 354;

/// Returns lnd's commitment type.
pub(super) fn commitment_type(kind: list::CommitmentType) -> lnrpc::CommitmentType {
    match kind {
        list::CommitmentType::Anchors => lnrpc::CommitmentType::Anchors,
        list::CommitmentType::StaticRemoteKey => lnrpc::CommitmentType::StaticRemoteKey,
    }
}

/// Returns which side opened the channel.
pub(super) fn open_initiator(ours: bool) -> lnrpc::Initiator {
    match ours {
        true => lnrpc::Initiator::Local,
        false => lnrpc::Initiator::Remote,
    }
}

/// Returns which side closed the channel.
pub(super) fn close_initiator(initiator: CloseInitiator) -> lnrpc::Initiator {
    match initiator {
        CloseInitiator::Unknown => lnrpc::Initiator::Unknown,
        CloseInitiator::Local => lnrpc::Initiator::Local,
        CloseInitiator::Remote => lnrpc::Initiator::Remote,
    }
}

/// Returns lnd's status flags of a channel that is being closed.
pub(super) fn closing_flags(kind: CloseType, initiator: CloseInitiator) -> String {
    let kind = match kind {
        CloseType::Cooperative => "ChanStatusCoopBroadcasted",
        CloseType::LocalForce | CloseType::RemoteForce | CloseType::FundingCanceled => {
            "ChanStatusBorked|ChanStatusCommitBroadcasted"
        }
    };
    match initiator {
        CloseInitiator::Local => format!("{kind}|ChanStatusLocalCloseInitiator"),
        CloseInitiator::Remote => format!("{kind}|ChanStatusRemoteCloseInitiator"),
        CloseInitiator::Unknown => kind.to_owned(),
    }
}
