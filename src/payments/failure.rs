//! The meaning of a failed attempt for its payment, as far as LDK reveals it.
//!
//! LDK does not report failure codes. The table shows what it reports instead for failures from the
//! receiver, and how lnd treats the same code:
//!
//! | code | permanently | update | channel | lnd | here |
//! |---|---|---|---|---|---|
//! | PERM\|15 incorrect_or_unknown_payment_details | yes | none | none | ends, details | ends, details |
//! | 17 final_expiry_too_soon, 21, unknown codes | no | the receiver, permanent | last | 17 ends, details; others end, error | ends, details |
//! | 18, 19 final_incorrect_cltv_expiry, _htlc_amount | no | none | last | direct peer: ends, error; else another route | the same |
//! | PERM\|22 invalid_onion_payload | yes | the last channel, permanent | last | ends, error | ends, error |
//! | PERM\|NODE\|.. | yes | the receiver | last | ends, error | ends, error |
//! | NODE\|2 temporary_node_failure | no | the receiver, temporary | last | ends, error | ends, error |
//! | 23 mpp_timeout | no | none | none | retry | retry |
//! | unreadable, or of no node | yes | none | none | another route; direct peer: ends, error | ends, details: LDK does not distinguish it from PERM\|15 |
//!
//! PERM|16, which receivers no longer send, looks like PERM|22; the other codes that would are sent
//! by forwarding nodes only.
//!
//! Failures from other nodes are retried without the channel that LDK names. A failure that the
//! receiver's peer reports on its behalf (BADONION) names a channel only in the update.

use bitcoin::secp256k1::PublicKey;
use lightning::events::PathFailure;
use lightning::routing::gossip::NetworkUpdate;
use lightning::routing::router::Path;
use lightning::util::errors::APIError;

use crate::model::payment::FailureReason;
use crate::routing::FailedChannel;

/// The consequences for the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FailureOutcome {
    /// Stop further attempts, for this reason.
    pub(super) end: Option<FailureReason>,
    /// Later attempts avoid this channel, or send less over it.
    pub(super) channel: Option<FailedChannel>,
    /// The index of the node that failed the attempt: 0 is this node, the last one the receiver.
    pub(super) source_index: u32,
    /// The receiver cannot parse the payload (`invalid_onion_payload`).
    pub(super) invalid_payload: bool,
}

impl FailureOutcome {
    /// A failure from the receiver that does not end the payment means that parts were missing.
    pub(super) fn is_timeout(&self, path: &Path) -> bool {
        self.end.is_none() && usize::try_from(self.source_index) == Ok(path.hops.len())
    }
}

/// `permanently` and `channel` are further fields of LDK's event.
pub(super) fn outcome(
    permanently: bool,
    failure: &PathFailure,
    path: &Path,
    channel: Option<u64>,
) -> FailureOutcome {
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
            FailureOutcome {
                end,
                channel: channel.map(failed),
                source_index: source_index(path, end.is_some(), update, channel),
                invalid_payload,
            }
        }
    }
}

/// A channel that was unavailable may work shortly, and the router knows about it. Errors that LDK
/// attributes to us would repeat.
fn not_sent(error: &APIError) -> FailureOutcome {
    let in_a_moment = matches!(
        error,
        APIError::ChannelUnavailable { .. } | APIError::MonitorUpdateInProgress
    );
    FailureOutcome {
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

/// A channel may lack liquidity for a large amount and have it for a smaller one. LDK does not
/// distinguish this from a raised fee or a disabled channel; other failures apply to every amount.
fn least_that_fails(update: Option<&NetworkUpdate>, path: &Path) -> u64 {
    match update {
        Some(NetworkUpdate::ChannelFailure {
            is_permanent: false,
            ..
        }) => path.final_value_msat(),
        _ => 0,
    }
}

/// Returns whether a channel, or an intermediate node, is expected to work again.
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

/// LDK names the node or channel that the preceding node could not use.
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

    /// The failure reason, the channel to avoid, and the index of the failing node.
    type Judged = (Option<FailureReason>, Option<u64>, u32);

    fn judged(
        path: &Path,
        permanently: bool,
        network_update: Option<NetworkUpdate>,
        channel: Option<u64>,
    ) -> Judged {
        let failure = PathFailure::OnPath { network_update };
        let outcome = outcome(permanently, &failure, path, channel);
        (
            outcome.end,
            outcome.channel.map(|channel| channel.scid),
            outcome.source_index,
        )
    }

    #[test]
    fn failures_from_the_receiver_end_the_payment() {
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
    fn mpp_timeouts_are_retried_over_the_same_route() {
        assert_eq!(judged(&over_one(), false, None, None), (None, None, 2));
    }

    #[test]
    fn recognizes_only_mpp_timeouts_as_timeouts() {
        let direct = path(&[(3, FIRST)]);
        let is_timeout = |path: &Path, permanently, network_update, channel| {
            let failure = PathFailure::OnPath { network_update };
            outcome(permanently, &failure, path, channel).is_timeout(path)
        };
        for path in [&over_one(), &direct] {
            assert!(is_timeout(path, false, None, None));
            let last = path.hops.last().map(|hop| hop.short_channel_id);
            assert!(!is_timeout(path, false, None, last), "code 18 or 19");
            assert!(!is_timeout(path, true, None, None));
            assert!(!is_timeout(path, false, node_failure(3, false), last));
            assert!(!is_timeout(path, false, channel_failure(LAST), last));
        }
    }

    #[test]
    fn recognizes_only_invalid_onion_payloads() {
        let path = over_one();
        let invalid = |permanently, network_update, channel| {
            let failure = PathFailure::OnPath { network_update };
            outcome(permanently, &failure, &path, channel).invalid_payload
        };
        let last = Some(LAST);
        assert!(invalid(true, channel_failure(LAST), last));
        assert!(!invalid(true, None, None), "PERM|15");
        assert!(!invalid(true, node_failure(3, true), last), "PERM|NODE");
        assert!(!invalid(true, channel_failure(LAST), None), "BADONION");
        assert!(
            !invalid(false, channel_failure(LAST), last),
            "not permanent"
        );
    }

    #[test]
    fn final_htlc_mismatches_are_retried_over_another_route() {
        let last = Some(LAST);
        assert_eq!(judged(&over_one(), false, None, last), (None, last, 1));
        let direct = path(&[(3, FIRST)]);
        let first = Some(FIRST);
        let refused = judged(&direct, false, None, first);
        assert_eq!(refused, (Some(Error), first, 1));
    }

    #[test]
    fn failed_channels_are_avoided() {
        let path = over_one();
        let (first, last) = (Some(FIRST), Some(LAST));
        let closed = judged(&path, false, channel_failure(LAST), last);
        assert_eq!(closed, (None, last, 1));
        let node = judged(&path, false, node_failure(2, true), first);
        assert_eq!(node, (None, first, 1));
        // The receiver's peer reports that the receiver could not parse the onion.
        let malformed = judged(&path, false, channel_failure(LAST), None);
        assert_eq!(malformed, (None, last, 1));
    }

    #[test]
    fn only_temporarily_failed_channels_may_carry_less() {
        let path = over_one();
        let least = |network_update: Option<NetworkUpdate>| {
            let failure = PathFailure::OnPath { network_update };
            outcome(false, &failure, &path, Some(LAST))
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
    fn distinguishes_temporary_from_permanent_failures() {
        let is_temporary = |network_update: Option<NetworkUpdate>| {
            let failure = PathFailure::OnPath { network_update };
            let outcome = outcome(false, &failure, &over_one(), Some(LAST));
            outcome.channel.unwrap().is_temporary
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
    fn unsent_attempts_are_retried_unless_invalid() {
        let sent = |err| {
            let failure = PathFailure::InitialSend { err };
            outcome(false, &failure, &over_one(), Some(FIRST))
        };
        let err = || "no".to_owned();
        let full = sent(APIError::ChannelUnavailable { err: err() });
        assert_eq!((full.end, full.channel, full.source_index), (None, None, 0));
        let mistake = sent(APIError::InvalidRoute { err: err() });
        assert_eq!(mistake.end, Some(Error));
    }
}
