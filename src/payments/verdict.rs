//! What a failed attempt means for its payment, as far as LDK tells.
//!
//! LDK keeps the failure's code to itself. What it says instead, for what the receiver answers, and
//! what lnd makes of the same code:
//!
//! | code | permanently | update | channel | lnd | here |
//! |---|---|---|---|---|---|
//! | PERM\|15 incorrect_or_unknown_payment_details | yes | none | none | ends, details | ends, details |
//! | 17 final_expiry_too_soon, 21, unknown ones | no | the receiver, for good | last | 17 ends, details; others end, error | ends, details |
//! | 18, 19 final_incorrect_cltv_expiry, _htlc_amount | no | none | last | direct peer: ends, error; else another way | the same |
//! | PERM\|22 invalid_onion_payload | yes | the last channel, for good | last | ends, error | ends, error |
//! | PERM\|NODE\|.. | yes | the receiver | last | ends, error | ends, error |
//! | NODE\|2 temporary_node_failure | no | the receiver, for now | last | ends, error | ends, error |
//! | 23 mpp_timeout | no | none | none | again | again |
//! | unreadable, or nobody's | yes | none | none | another way; direct peer: ends, error | ends, details: LDK does not tell it from PERM\|15 |
//!
//! PERM|16, which receivers no longer send, looks like PERM|22; the other codes that would are a forwarding
//! node's alone.
//!
//! What anybody else answers is tried again without the channel that LDK names. A failure that the
//! receiver's peer reports of it (BADONION) names a channel only in the update.

use bitcoin::secp256k1::PublicKey;
use lightning::events::PathFailure;
use lightning::routing::gossip::NetworkUpdate;
use lightning::routing::router::Path;
use lightning::util::errors::APIError;

use super::outbound::FailedChannel;
use crate::storage::payments::FailureReason;

/// What becomes of the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// No more attempts, for this reason.
    pub(super) end: Option<FailureReason>,
    /// Attempts that follow do without this channel, or send less over it.
    pub(super) channel: Option<FailedChannel>,
    /// Which node of the path failed the attempt: 0 is ourselves, the last one the receiver.
    pub(super) source_index: u32,
    /// The receiver cannot use the payload (`invalid_onion_payload`).
    pub(super) invalid_payload: bool,
}

impl Verdict {
    /// What the receiver answers and is not the end of a payment is that parts were missing.
    pub(super) fn is_timeout(&self, path: &Path) -> bool {
        self.end.is_none() && usize::try_from(self.source_index) == Ok(path.hops.len())
    }
}

/// `permanently` and `channel` are what LDK's event says beside the failure.
pub(super) fn of(
    permanently: bool,
    failure: &PathFailure,
    path: &Path,
    channel: Option<u64>,
) -> Verdict {
    match failure {
        PathFailure::InitialSend { err } => not_sent(err),
        PathFailure::OnPath { network_update } => {
            let update = network_update.as_ref();
            let invalid_payload = permanently && channel.is_some() && is_channel_for_good(update);
            let channel = channel.or(update.and_then(updated_channel));
            let end = end(permanently, update, path, channel);
            let failed = |scid| FailedChannel {
                scid,
                from_msat: least_that_fails(update, path),
                is_temporary: is_temporary(update),
            };
            Verdict {
                end,
                channel: channel.map(failed),
                source_index: source_index(path, end.is_some(), update, channel),
                invalid_payload,
            }
        }
    }
}

/// A channel that could not take it may be able to in a moment, and the router knows. What LDK calls
/// a mistake of ours would be the same mistake again.
fn not_sent(error: &APIError) -> Verdict {
    let in_a_moment = matches!(
        error,
        APIError::ChannelUnavailable { .. } | APIError::MonitorUpdateInProgress
    );
    Verdict {
        end: (!in_a_moment).then_some(FailureReason::Error),
        channel: None,
        source_index: 0,
        invalid_payload: false,
    }
}

fn is_channel_for_good(update: Option<&NetworkUpdate>) -> bool {
    matches!(
        update,
        Some(NetworkUpdate::ChannelFailure {
            is_permanent: true,
            ..
        })
    )
}

fn end(
    permanently: bool,
    update: Option<&NetworkUpdate>,
    path: &Path,
    channel: Option<u64>,
) -> Option<FailureReason> {
    use FailureReason::{Error, IncorrectPaymentDetails};
    let receiver = path.hops.last().map(|hop| hop.pubkey);
    match (permanently, update) {
        (true, None) => Some(IncorrectPaymentDetails),
        (true, Some(_)) => Some(Error),
        (
            false,
            Some(NetworkUpdate::NodeFailure {
                node_id,
                is_permanent,
            }),
        ) if is(receiver, node_id) => Some(match is_permanent {
            true => IncorrectPaymentDetails,
            false => Error,
        }),
        (false, None) if path.hops.len() == 1 && channel.is_some() => Some(Error),
        (false, _) => None,
    }
}

/// A channel may lack liquidity for much and have it for less. LDK tells that from a fee that has risen
/// or a channel that is switched off no better than this; all else is wrong for every amount.
fn least_that_fails(update: Option<&NetworkUpdate>, path: &Path) -> u64 {
    match update {
        Some(NetworkUpdate::ChannelFailure {
            is_permanent: false,
            ..
        }) => path.final_value_msat(),
        _ => 0,
    }
}

/// A channel, or a node in the middle, that is to work again.
fn is_temporary(update: Option<&NetworkUpdate>) -> bool {
    let (NetworkUpdate::ChannelFailure { is_permanent, .. }
    | NetworkUpdate::NodeFailure { is_permanent, .. }) = match update {
        Some(update) => update,
        None => return false,
    };
    !is_permanent
}

fn is(receiver: Option<PublicKey>, node: &PublicKey) -> bool {
    receiver.as_ref() == Some(node)
}

fn updated_channel(update: &NetworkUpdate) -> Option<u64> {
    match update {
        NetworkUpdate::ChannelFailure {
            short_channel_id, ..
        } => Some(*short_channel_id),
        NetworkUpdate::NodeFailure { .. } => None,
    }
}

/// LDK names the node, or the channel, which the node before it could not use.
fn source_index(
    path: &Path,
    by_receiver: bool,
    update: Option<&NetworkUpdate>,
    channel: Option<u64>,
) -> u32 {
    let mut hops = path.hops.iter();
    let source = match (by_receiver, update, channel) {
        (true, _, _) => None,
        (false, Some(NetworkUpdate::NodeFailure { node_id, .. }), _) => {
            let hop = hops.position(|hop| hop.pubkey == *node_id);
            hop.map(|index| index + 1)
        }
        (false, _, Some(scid)) => hops.position(|hop| hop.short_channel_id == scid),
        (false, _, None) => None,
    };
    u32::try_from(source.unwrap_or(path.hops.len())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use FailureReason::{Error, IncorrectPaymentDetails};
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use lightning::routing::router::RouteHop;
    use lightning_types::features::{ChannelFeatures, NodeFeatures};

    use super::*;

    const FIRST: u64 = 11;
    const LAST: u64 = 22;

    fn key(n: u8) -> PublicKey {
        let secret = SecretKey::from_slice(&[n; 32]).unwrap();
        PublicKey::from_secret_key(&Secp256k1::new(), &secret)
    }

    fn path(hops: &[(u8, u64)]) -> Path {
        let hop = |(node, short_channel_id): &(u8, u64)| RouteHop {
            pubkey: key(*node),
            node_features: NodeFeatures::empty(),
            short_channel_id: *short_channel_id,
            channel_features: ChannelFeatures::empty(),
            fee_msat: 1,
            cltv_expiry_delta: 80,
            maybe_announced_channel: true,
        };
        Path {
            hops: hops.iter().map(hop).collect(),
            blinded_tail: None,
        }
    }

    fn over_one() -> Path {
        path(&[(2, FIRST), (3, LAST)])
    }

    fn channel_failure(short_channel_id: u64) -> Option<NetworkUpdate> {
        Some(NetworkUpdate::ChannelFailure {
            short_channel_id,
            is_permanent: true,
        })
    }

    fn node_failure(node: u8, is_permanent: bool) -> Option<NetworkUpdate> {
        Some(NetworkUpdate::NodeFailure {
            node_id: key(node),
            is_permanent,
        })
    }

    /// The end, the channel to avoid, and the node to blame.
    type Judged = (Option<FailureReason>, Option<u64>, u32);

    fn judged(
        path: &Path,
        permanently: bool,
        network_update: Option<NetworkUpdate>,
        channel: Option<u64>,
    ) -> Judged {
        let failure = PathFailure::OnPath { network_update };
        let verdict = of(permanently, &failure, path, channel);
        (
            verdict.end,
            verdict.channel.map(|channel| channel.scid),
            verdict.source_index,
        )
    }

    #[test]
    fn what_the_receiver_refuses_ends_the_payment() {
        let path = over_one();
        let details = Some(IncorrectPaymentDetails);
        assert_eq!(judged(&path, true, None, None), (details, None, 2));
        let last = Some(LAST);
        let update = channel_failure(LAST);
        assert_eq!(judged(&path, true, update, last), (Some(Error), last, 2));
        let too_soon = judged(&path, false, node_failure(3, true), last);
        assert_eq!(too_soon, (details, last, 2));
        let busy = judged(&path, false, node_failure(3, false), last);
        assert_eq!(busy, (Some(Error), last, 2));
    }

    #[test]
    fn a_timeout_of_the_set_is_tried_again_the_same_way() {
        assert_eq!(judged(&over_one(), false, None, None), (None, None, 2));
    }

    #[test]
    fn only_a_timeout_of_the_set_is_called_so() {
        let direct = path(&[(3, FIRST)]);
        let is_timeout = |path: &Path, permanently, network_update, channel| {
            let failure = PathFailure::OnPath { network_update };
            of(permanently, &failure, path, channel).is_timeout(path)
        };
        for path in [&over_one(), &direct] {
            assert!(is_timeout(path, false, None, None));
            let last = path.hops.last().map(|hop| hop.short_channel_id);
            assert!(!is_timeout(path, false, None, last), "18 or 19");
            assert!(!is_timeout(path, true, None, None));
            assert!(!is_timeout(path, false, node_failure(3, false), last));
            assert!(!is_timeout(path, false, channel_failure(LAST), last));
        }
    }

    #[test]
    fn only_a_payload_that_the_receiver_cannot_use_is_called_so() {
        let path = over_one();
        let invalid = |permanently, network_update, channel| {
            let failure = PathFailure::OnPath { network_update };
            of(permanently, &failure, &path, channel).invalid_payload
        };
        let last = Some(LAST);
        assert!(invalid(true, channel_failure(LAST), last));
        assert!(!invalid(true, None, None), "PERM|15");
        assert!(!invalid(true, node_failure(3, true), last), "PERM|NODE");
        assert!(!invalid(true, channel_failure(LAST), None), "BADONION");
        assert!(!invalid(false, channel_failure(LAST), last), "on the way");
    }

    #[test]
    fn what_does_not_match_the_onion_is_tried_another_way_if_there_is_one() {
        let last = Some(LAST);
        assert_eq!(judged(&over_one(), false, None, last), (None, last, 1));
        let direct = path(&[(3, FIRST)]);
        let first = Some(FIRST);
        let refused = judged(&direct, false, None, first);
        assert_eq!(refused, (Some(Error), first, 1));
    }

    #[test]
    fn what_fails_on_the_way_is_tried_without_that_channel() {
        let path = over_one();
        let (first, last) = (Some(FIRST), Some(LAST));
        let closed = judged(&path, false, channel_failure(LAST), last);
        assert_eq!(closed, (None, last, 1));
        let node = judged(&path, false, node_failure(2, true), first);
        assert_eq!(node, (None, first, 1));
        // The receiver could not read the onion, says its peer.
        let malformed = judged(&path, false, channel_failure(LAST), None);
        assert_eq!(malformed, (None, last, 1));
    }

    #[test]
    fn only_a_channel_that_failed_for_now_may_carry_less() {
        let path = over_one();
        let least = |network_update: Option<NetworkUpdate>| {
            let failure = PathFailure::OnPath { network_update };
            of(false, &failure, &path, Some(LAST))
                .channel
                .unwrap()
                .from_msat
        };
        let for_now = |is_permanent| {
            Some(NetworkUpdate::ChannelFailure {
                short_channel_id: LAST,
                is_permanent,
            })
        };
        assert!(path.final_value_msat() > 0);
        assert_eq!(least(for_now(false)), path.final_value_msat());
        for never in [for_now(true), node_failure(2, false), None] {
            assert_eq!(least(never), 0);
        }
    }

    #[test]
    fn what_is_to_work_again_is_told_from_what_is_not() {
        let is_temporary = |network_update: Option<NetworkUpdate>| {
            let failure = PathFailure::OnPath { network_update };
            let verdict = of(false, &failure, &over_one(), Some(LAST));
            verdict.channel.unwrap().is_temporary
        };
        let channel = |is_permanent| NetworkUpdate::ChannelFailure {
            short_channel_id: LAST,
            is_permanent,
        };
        assert!(is_temporary(Some(channel(false))));
        assert!(is_temporary(node_failure(2, false)));
        assert!(!is_temporary(Some(channel(true))));
        assert!(!is_temporary(node_failure(2, true)));
        assert!(!is_temporary(None));
    }

    #[test]
    fn what_ldk_did_not_send_is_tried_again_unless_it_was_our_mistake() {
        let sent = |err| {
            let failure = PathFailure::InitialSend { err };
            of(false, &failure, &over_one(), Some(FIRST))
        };
        let err = || "no".to_owned();
        let full = sent(APIError::ChannelUnavailable { err: err() });
        assert_eq!((full.end, full.channel, full.source_index), (None, None, 0));
        let mistake = sent(APIError::InvalidRoute { err: err() });
        assert_eq!(mistake.end, Some(Error));
    }
}
