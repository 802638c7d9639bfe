//! Route hints over our unannounced channels, for an invoice that asks for them.

use std::cmp::Reverse;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::NodeId;
use lightning_types::routing::{RouteHint, RouteHintHop, RoutingFees};

use crate::ldk::NetworkGraph;

/// lnd's limit for one invoice.
pub const MAX_HINTS: usize = 20;

/// The channels of an invoice's hints can bring so many times its amount (lnd): some of them may not
/// work when it is paid.
const ROOM: u64 = 2;

/// Ways to us over channels that nobody else knows, chosen as lnd chooses them: those first that can
/// bring us most, until they can bring twice the amount; all of them for an amount of 0. Together
/// with the `given` hints there are at most 20.
///
/// Of the `usable` channels those count whose peer is public: a payer could not find the others.
pub fn own_hints(
    usable: &[ChannelDetails],
    graph: &NetworkGraph,
    value_msat: u64,
    given: &[RouteHint],
) -> Vec<RouteHint> {
    let graph = graph.read_only();
    let is_public = |key: &PublicKey| graph.node(&NodeId::from_pubkey(key)).is_some();
    let ways = usable
        .iter()
        .filter(|channel| !channel.is_announced && is_public(&channel.counterparty.node_id))
        .filter_map(way)
        .collect();
    let chosen = choose(ways, value_msat, given).into_iter();
    chosen.map(|way| RouteHint(vec![way.hop])).collect()
}

/// A channel as a hint.
struct Way {
    inbound_msat: u64,
    hop: RouteHintHop,
}

/// None as long as the peer has not told what it takes for a forward.
fn way(channel: &ChannelDetails) -> Option<Way> {
    let terms = channel.counterparty.forwarding_info.as_ref()?;
    Some(Way {
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

fn choose(mut ways: Vec<Way>, value_msat: u64, given: &[RouteHint]) -> Vec<Way> {
    ways.retain(|way| !is_given(way, given));
    ways.sort_by_key(|way| Reverse(way.inbound_msat));
    ways.truncate(MAX_HINTS.saturating_sub(given.len()));
    if value_msat > 0 {
        ways.truncate(needed(&ways, value_msat.saturating_mul(ROOM)));
    }
    // The order must not tell the payer which of them holds how much.
    ways.sort_by_key(|way| way.hop.short_channel_id);
    ways
}

fn is_given(way: &Way, given: &[RouteHint]) -> bool {
    let mut hops = given.iter().flat_map(|hint| &hint.0);
    hops.any(|hop| hop.short_channel_id == way.hop.short_channel_id)
}

/// How many of them, from the start, can bring this.
fn needed(ways: &[Way], msat: u64) -> usize {
    let sums = ways.iter().scan(0u64, |sum, way| {
        *sum = sum.saturating_add(way.inbound_msat);
        Some(*sum)
    });
    // Those that do not suffice, and the one with which they do.
    sums.take_while(|sum| *sum < msat).count() + 1
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    fn way(scid: u64, inbound_msat: u64) -> Way {
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
        Way { inbound_msat, hop }
    }

    fn chosen(inbound_msat: &[u64], value_msat: u64, given: &[RouteHint]) -> Vec<u64> {
        let ways = (1..).zip(inbound_msat).map(|(scid, msat)| way(scid, *msat));
        let ways = choose(ways.collect(), value_msat, given);
        ways.iter().map(|way| way.hop.short_channel_id).collect()
    }

    #[test]
    fn the_largest_are_taken_until_they_bring_twice_the_amount() {
        assert_eq!(chosen(&[10, 40, 30, 20], 35, &[]), [2, 3]);
        assert_eq!(chosen(&[10, 40, 30, 20], 36, &[]), [2, 3, 4]);
        assert_eq!(chosen(&[10, 40, 30, 20], 20, &[]), [2]);
        assert_eq!(chosen(&[10, 40], 1_000, &[]), [1, 2], "all there are");
        assert_eq!(chosen(&[10, 40], u64::MAX, &[]), [1, 2]);
        assert!(chosen(&[], 5, &[]).is_empty());
    }

    #[test]
    fn without_an_amount_all_are_taken_up_to_twenty() {
        assert_eq!(chosen(&[5, 0, 9], 0, &[]), [1, 2, 3]);
        let many: Vec<u64> = (1..=30).collect();
        let largest: Vec<u64> = (11..=30).collect();
        assert_eq!(chosen(&many, 0, &[]), largest);
    }

    #[test]
    fn given_hints_take_their_room_and_are_not_repeated() {
        let given = |scids: &[u64]| -> Vec<RouteHint> {
            let hints = scids.iter().map(|scid| RouteHint(vec![way(*scid, 0).hop]));
            hints.collect()
        };
        assert_eq!(chosen(&[9, 8], 0, &given(&[1])), [2]);
        let nineteen: Vec<u64> = (100..119).collect();
        assert_eq!(chosen(&[8, 9], 0, &given(&nineteen)), [2]);
        let twenty: Vec<u64> = (100..120).collect();
        assert!(chosen(&[8, 9], 0, &given(&twenty)).is_empty());
    }
}
