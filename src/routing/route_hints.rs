//! Route hints over our unannounced channels (`AddInvoice` with `private`).

use std::cmp::Reverse;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::NodeId;
use lightning_types::routing::{RouteHint, RouteHintHop, RoutingFees};

use crate::ldk::NetworkGraph;

/// The maximum number of route hints per invoice, as in lnd.
pub const MAX_HINTS: usize = 20;

/// The inbound capacity of an invoice's hints is at least this multiple of its amount, as in lnd, since
/// some hints may fail at payment time.
const CAPACITY_FACTOR: u64 = 2;

/// Returns route hints over unannounced channels, selected as in lnd: the channels with the most inbound
/// capacity, until they can receive twice `value_msat`; all of them if `value_msat` is 0. Together with the
/// `given` hints there are at most [`MAX_HINTS`].
///
/// Of the `usable` channels, only those whose peer is in the graph count: payers cannot reach the others.
pub fn own_hints(
    usable: &[ChannelDetails],
    graph: &NetworkGraph,
    value_msat: u64,
    given: &[RouteHint],
) -> Vec<RouteHint> {
    let graph = graph.read_only();
    let is_public = |key: &PublicKey| graph.node(&NodeId::from_pubkey(key)).is_some();
    let candidates = usable
        .iter()
        .filter(|channel| !channel.is_announced && is_public(&channel.counterparty.node_id))
        .filter_map(candidate)
        .collect();
    let chosen = choose(candidates, value_msat, given).into_iter();
    chosen.map(|one| RouteHint(vec![one.hop])).collect()
}

/// A hint over one channel, with the channel's inbound capacity.
struct Candidate {
    inbound_msat: u64,
    hop: RouteHintHop,
}

/// Returns `None` until the peer has sent its forwarding policy.
fn candidate(channel: &ChannelDetails) -> Option<Candidate> {
    let terms = channel.counterparty.forwarding_info.as_ref()?;
    Some(Candidate {
        inbound_msat: channel.inbound_capacity_msat,
        hop: RouteHintHop {
            src_node_id: channel.counterparty.node_id,
            // The alias, if the channel has one.
            short_channel_id: channel.get_inbound_payment_scid()?,
            fees: RoutingFees {
                base_msat: terms.fee_base_msat,
                proportional_millionths: terms.fee_proportional_millionths,
            },
            cltv_expiry_delta: terms.cltv_expiry_delta,
            htlc_minimum_msat: None,
            htlc_maximum_msat: None,
        },
    })
}

fn choose(mut all: Vec<Candidate>, value_msat: u64, given: &[RouteHint]) -> Vec<Candidate> {
    all.retain(|one| !is_given(one, given));
    all.sort_by_key(|one| Reverse(one.inbound_msat));
    all.truncate(MAX_HINTS.saturating_sub(given.len()));
    if value_msat > 0 {
        all.truncate(needed(&all, value_msat.saturating_mul(CAPACITY_FACTOR)));
    }
    // Sorted by id so that the order does not reveal how much each channel holds.
    all.sort_by_key(|one| one.hop.short_channel_id);
    all
}

fn is_given(one: &Candidate, given: &[RouteHint]) -> bool {
    let mut hops = given.iter().flat_map(|hint| &hint.0);
    hops.any(|hop| hop.short_channel_id == one.hop.short_channel_id)
}

/// Returns how many candidates, from the start, are needed to receive this amount.
fn needed(all: &[Candidate], msat: u64) -> usize {
    let sums = all.iter().scan(0u64, |sum, one| {
        *sum = sum.saturating_add(one.inbound_msat);
        Some(*sum)
    });
    // All that are not enough together, plus the one that makes them enough.
    sums.take_while(|sum| *sum < msat).count() + 1
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    fn candidate(scid: u64, inbound_msat: u64) -> Candidate {
        let key = SecretKey::from_slice(&[3; 32]).unwrap();
        let hop = RouteHintHop {
            src_node_id: PublicKey::from_secret_key(&Secp256k1::new(), &key),
            short_channel_id: scid,
            fees: RoutingFees {
                base_msat: 1,
                proportional_millionths: 2,
            },
            cltv_expiry_delta: 80,
            htlc_minimum_msat: None,
            htlc_maximum_msat: None,
        };
        Candidate { inbound_msat, hop }
    }

    fn chosen(inbound_msat: &[u64], value_msat: u64, given: &[RouteHint]) -> Vec<u64> {
        let all = (1..)
            .zip(inbound_msat)
            .map(|(scid, msat)| candidate(scid, *msat));
        let chosen = choose(all.collect(), value_msat, given);
        chosen.iter().map(|one| one.hop.short_channel_id).collect()
    }

    #[test]
    fn largest_channels_are_chosen_until_they_cover_twice_the_amount() {
        assert_eq!(chosen(&[10, 40, 30, 20], 35, &[]), [2, 3]);
        assert_eq!(chosen(&[10, 40, 30, 20], 36, &[]), [2, 3, 4]);
        assert_eq!(chosen(&[10, 40, 30, 20], 20, &[]), [2]);
        assert_eq!(chosen(&[10, 40], 1_000, &[]), [1, 2], "not enough, so all");
        assert_eq!(chosen(&[10, 40], u64::MAX, &[]), [1, 2]);
        assert!(chosen(&[], 5, &[]).is_empty());
    }

    #[test]
    fn all_channels_up_to_twenty_are_chosen_for_amount_zero() {
        assert_eq!(chosen(&[5, 0, 9], 0, &[]), [1, 2, 3]);
        let many: Vec<u64> = (1..=30).collect();
        let largest: Vec<u64> = (11..=30).collect();
        assert_eq!(chosen(&many, 0, &[]), largest);
    }

    #[test]
    fn given_hints_count_towards_the_limit_and_are_not_repeated() {
        let given = |scids: &[u64]| -> Vec<RouteHint> {
            let hints = scids
                .iter()
                .map(|scid| RouteHint(vec![candidate(*scid, 0).hop]));
            hints.collect()
        };
        assert_eq!(chosen(&[9, 8], 0, &given(&[1])), [2]);
        let nineteen: Vec<u64> = (100..119).collect();
        assert_eq!(chosen(&[8, 9], 0, &given(&nineteen)), [2]);
        let twenty: Vec<u64> = (100..120).collect();
        assert!(chosen(&[8, 9], 0, &given(&twenty)).is_empty());
    }
}
