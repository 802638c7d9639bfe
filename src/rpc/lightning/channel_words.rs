//! What channels have in common in lnd's lists of them.

use crate::channels::closed::{CloseInitiator, CloseType};
use crate::channels::list;
use lnd_api::proto::lnrpc;

/// Sat: below this an output of an anchor commitment is not made (BOLT 3; LDK's and lnd's value).
pub(super) const DUST_LIMIT_SAT: u64 = 354;

/// lnd's name for the form of the commitments.
pub(super) fn commitment_type(kind: list::CommitmentType) -> lnrpc::CommitmentType {
    match kind {
        list::CommitmentType::Anchors => lnrpc::CommitmentType::Anchors,
        list::CommitmentType::StaticRemoteKey => lnrpc::CommitmentType::StaticRemoteKey,
    }
}

/// Who opened the channel.
pub(super) fn open_initiator(ours: bool) -> lnrpc::Initiator {
    match ours {
        true => lnrpc::Initiator::Local,
        false => lnrpc::Initiator::Remote,
    }
}

/// Who closed the channel.
pub(super) fn close_initiator(initiator: CloseInitiator) -> lnrpc::Initiator {
    match initiator {
        CloseInitiator::Unknown => lnrpc::Initiator::Unknown,
        CloseInitiator::Local => lnrpc::Initiator::Local,
        CloseInitiator::Remote => lnrpc::Initiator::Remote,
    }
}

/// lnd's flags of a channel whose close is under way.
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
