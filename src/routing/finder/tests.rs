//! Tests on a network in which Alice has channels to three nodes, each with a channel to Bob: three routes
//! of about 100,000 sat each.

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning::ln::channel_state::OutboundHTLCDetails;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::ln::msgs::{UnsignedChannelAnnouncement, UnsignedChannelUpdate};
use lightning::types::features::ChannelFeatures;
use lightning::types::payment::{PaymentHash, PaymentSecret};

use super::*;
use crate::channels::test_node::{TestNode, two_nodes};
use crate::routing::graph::Utxos;

pub(in crate::routing) const CHANNEL_SAT: u64 = 100_000;
/// The fee of the middle nodes in msat.
pub(in crate::routing) const HOP_FEE_MSAT: u32 = 1_000;
/// Carol, Dave, Eve.
pub(in crate::routing) const MIDDLE: [u8; 3] = [11, 12, 13];
pub(in crate::routing) const BOB: u8 = 20;

pub(in crate::routing) fn key(seed: u8) -> PublicKey {
    let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
    PublicKey::from_secret_key(&Secp256k1::new(), &secret)
}

/// Adds a public channel to the graph.
pub(in crate::routing) fn add_channel(graph: &NetworkGraph, scid: u64, from: u8, to: u8) {
    let (source, target) = (
        NodeId::from_pubkey(&key(from)),
        NodeId::from_pubkey(&key(to)),
    );
    let (node_id_1, node_id_2) = if source < target {
        (source, target)
    } else {
        (target, source)
    };
    let chain_hash = ChainHash::using_genesis_block(Network::Regtest);
    let announcement = UnsignedChannelAnnouncement {
        features: ChannelFeatures::empty(),
        chain_hash,
        short_channel_id: scid,
        node_id_1,
        node_id_2,
        bitcoin_key_1: node_id_1,
        bitcoin_key_2: node_id_2,
        excess_data: Vec::new(),
    };
    let unchecked: Option<&Utxos> = None;
    graph
        .update_channel_from_unsigned_announcement(&announcement, &unchecked)
        .unwrap();
    announce_policy(graph, scid, 1, 1);
}

/// Announces the policy of both ends: LDK routes over a channel only if it knows both.
fn announce_policy(graph: &NetworkGraph, scid: u64, timestamp: u32, htlc_minimum_msat: u64) {
    for channel_flags in [0, 1] {
        let update = UnsignedChannelUpdate {
            chain_hash: ChainHash::using_genesis_block(Network::Regtest),
            short_channel_id: scid,
            timestamp,
            message_flags: 1,
            channel_flags,
            cltv_expiry_delta: 80,
            htlc_minimum_msat,
            htlc_maximum_msat: CHANNEL_SAT * 1000,
            fee_base_msat: HOP_FEE_MSAT,
            fee_proportional_millionths: 0,
            excess_data: Vec::new(),
        };
        graph.update_channel_unsigned(&update).unwrap();
    }
}

/// Raises the channel's `htlc_minimum_msat`.
pub(in crate::routing) fn set_minimum(graph: &NetworkGraph, scid: u64, htlc_minimum_msat: u64) {
    announce_policy(graph, scid, 2, htlc_minimum_msat);
}

/// Returns Alice and her three channels: copies of her real one, but to other nodes and with 101,000 sat
/// each.
pub(in crate::routing) async fn three_routes() -> (TestNode, Vec<ChannelDetails>) {
    let (alice, _bob, _chain, _point) = two_nodes(400_000, 0).await;
    let real = alice.manager.list_usable_channels().remove(0);
    let mut channels = Vec::new();
    for (scid, node) in (1_u64..).zip(MIDDLE) {
        let mut channel = real.clone();
        channel.counterparty.node_id = key(node);
        channel.short_channel_id = Some(scid);
        channel.outbound_scid_alias = None;
        channel.outbound_capacity_msat = (CHANNEL_SAT + 1_000) * 1000;
        channel.next_outbound_htlc_limit_msat = (CHANNEL_SAT + 1_000) * 1000;
        channels.push(channel);
        add_channel(&alice.graph, 100 + scid, node, BOB);
    }
    (alice, channels)
}

fn query(amount_sat: u64) -> RouteQuery {
    RouteQuery::new(key(BOB), amount_sat * 1000, 100_000)
}

fn find(
    alice: &TestNode,
    query: &RouteQuery,
    channels: &[ChannelDetails],
) -> Result<Route, NoRoute> {
    let onion = RecipientOnionFields::secret_only(PaymentSecret([1; 32]));
    let parameters = query.parameters(&onion, false, 1)?;
    alice
        .finder
        .find(query, &parameters, channels, &InFlightHtlcs::new())
}

#[tokio::test]
async fn large_amount_is_split_across_all_routes() {
    let (alice, channels) = three_routes().await;
    // Nearly all of all three channels, though the payee announces no features.
    let route = find(&alice, &query(299_000), &channels).unwrap();
    assert_eq!(route.paths.len(), 3);
    let values: u64 = route.paths.iter().map(Path::final_value_msat).sum();
    assert_eq!(values, 299_000_000);
    assert_eq!(route.get_total_fees(), 3 * u64::from(HOP_FEE_MSAT));
}

#[tokio::test]
async fn amount_that_fits_one_channel_is_not_split() {
    let (alice, channels) = three_routes().await;
    let route = find(&alice, &query(99_000), &channels).unwrap();
    assert_eq!(route.paths.len(), 1);
}

#[tokio::test]
async fn maximum_number_of_parts_is_respected() {
    let (alice, channels) = three_routes().await;
    let query = RouteQuery {
        max_parts: 2,
        ..query(250_000)
    };
    assert_eq!(find(&alice, &query, &channels), Err(NoRoute::NoPath));
    let query = RouteQuery {
        max_parts: 3,
        ..query
    };
    assert_eq!(find(&alice, &query, &channels).unwrap().paths.len(), 3);
}

/// A channel with an HTLC in flight that can carry no other one.
fn full(channel: &ChannelDetails) -> ChannelDetails {
    let htlc = OutboundHTLCDetails {
        htlc_id: Some(1),
        amount_msat: 1_000,
        cltv_expiry: 100,
        payment_hash: PaymentHash([1; 32]),
        state: None,
        skimmed_fee_msat: None,
        is_dust: true,
    };
    ChannelDetails {
        next_outbound_htlc_limit_msat: 0,
        pending_outbound_htlcs: vec![htlc],
        ..channel.clone()
    }
}

#[tokio::test]
async fn full_channels_are_the_reason_only_if_there_is_a_route_without_their_htlcs() {
    let (alice, channels) = three_routes().await;
    let all_full: Vec<_> = channels.iter().map(full).collect();
    let one_full = [vec![full(&channels[0])], channels[1..].to_vec()].concat();
    let found = |query: &RouteQuery, channels| find(&alice, query, channels).map(|_| ());
    assert_eq!(found(&query(50_000), &one_full), Ok(()));
    for (sat, channels) in [(50_000, &all_full), (250_000, &one_full)] {
        assert_eq!(found(&query(sat), channels), Err(NoRoute::ChannelsFull));
    }
    let unknown = RouteQuery {
        payee: key(99),
        ..query(50_000)
    };
    assert_eq!(found(&unknown, &all_full), Err(NoRoute::NoPath));
    assert_eq!(found(&query(301_000), &one_full), Err(NoRoute::NoPath));
}

#[tokio::test]
async fn error_distinguishes_balance_fee_limit_and_missing_path() {
    let (alice, channels) = three_routes().await;
    let poor = NoRoute::InsufficientBalance {
        available_msat: 303_000_000,
        needed_msat: 303_001_000,
    };
    assert_eq!(find(&alice, &query(303_001), &channels), Err(poor));
    // The network can carry at most 300,000 sat to Bob.
    assert_eq!(
        find(&alice, &query(301_000), &channels),
        Err(NoRoute::NoPath)
    );
    let cheap = RouteQuery {
        fee_limit_msat: 999,
        ..query(50_000)
    };
    let limit = NoRoute::FeeLimit {
        limit_msat: 999,
        needed_msat: 1_000,
    };
    assert_eq!(find(&alice, &cheap, &channels), Err(limit));
    let unknown = RouteQuery {
        payee: key(99),
        ..query(1_000)
    };
    assert_eq!(find(&alice, &unknown, &channels), Err(NoRoute::NoPath));
    let own = RouteQuery {
        payee: alice.id,
        ..query(1_000)
    };
    assert_eq!(find(&alice, &own, &channels), Err(NoRoute::ToSelf));
    assert_eq!(find(&alice, &query(0), &channels), Err(NoRoute::NoAmount));
}

#[tokio::test]
async fn first_and_last_hop_can_be_chosen() {
    let (alice, channels) = three_routes().await;
    for (scid, node) in (1_u64..).zip(MIDDLE) {
        let first = RouteQuery {
            outgoing_channels: vec![scid],
            ..query(50_000)
        };
        let last = RouteQuery {
            last_hop: Some(key(node)),
            ..query(50_000)
        };
        for query in [first, last] {
            let route = find(&alice, &query, &channels).unwrap();
            assert_eq!(route.paths[0].hops[0].pubkey, key(node));
        }
    }
    let neither = RouteQuery {
        outgoing_channels: vec![1],
        last_hop: Some(key(MIDDLE[1])),
        ..query(50_000)
    };
    assert_eq!(find(&alice, &neither, &channels), Err(NoRoute::NoPath));
    let too_much = RouteQuery {
        outgoing_channels: vec![1],
        ..query(150_000)
    };
    assert!(matches!(
        find(&alice, &too_much, &channels),
        Err(NoRoute::InsufficientBalance {
            available_msat: 101_000_000,
            ..
        })
    ));
}

#[tokio::test]
async fn failed_channels_are_avoided() {
    let (alice, channels) = three_routes().await;
    let failed = RouteQuery {
        failed_channels: vec![101, 102],
        ..query(50_000)
    };
    let route = find(&alice, &failed, &channels).unwrap();
    assert_eq!(route.paths[0].hops[1].short_channel_id, 103);
}

/// The minimum is the payee's 80 blocks, our padding of 3 and one hop's 80. LDK's random offset, for which
/// LDK would reserve 80 blocks, may use the remaining blocks but no more.
#[tokio::test]
async fn cltv_limit_is_exact() {
    let (alice, channels) = three_routes().await;
    for (limit, is_enough) in [
        (163, true),
        (162, false),
        (84, false),
        (200, true),
        (243, true),
    ] {
        let query = RouteQuery {
            cltv_limit: Some(limit),
            ..query(50_000)
        };
        let found = find(&alice, &query, &channels);
        assert_eq!(found.is_ok(), is_enough, "{limit}");
        let Ok(route) = found else {
            continue;
        };
        let hops = route.paths[0].hops.iter();
        // LDK counts from the next block.
        let blocks = 1 + hops.map(|hop| hop.cltv_expiry_delta).sum::<u32>();
        assert!((163..=limit).contains(&blocks), "{blocks} of {limit}");
        let last = route.paths[0].hops.last().unwrap();
        assert!(last.cltv_expiry_delta + 1 >= 83);
    }
}

#[tokio::test]
async fn fee_limit_is_exact() {
    let (alice, channels) = three_routes().await;
    for (amount_sat, fees_msat) in [(50_000, 1_000), (299_000, 3_000)] {
        let with_limit = |fee_limit_msat| RouteQuery {
            fee_limit_msat,
            ..query(amount_sat)
        };
        let route = find(&alice, &with_limit(fees_msat), &channels).unwrap();
        assert_eq!(route.get_total_fees(), fees_msat);
        let too_expensive = NoRoute::FeeLimit {
            limit_msat: fees_msat - 1,
            needed_msat: fees_msat,
        };
        let found = find(&alice, &with_limit(fees_msat - 1), &channels);
        assert_eq!(found, Err(too_expensive));
    }
}

/// Alice sends 30,000 sat to Bob, whose peers forward him at least 31,200 sat. The fee limit would allow the
/// extra 1,200 sat.
#[tokio::test]
async fn amount_is_never_raised_to_meet_a_minimum() {
    let (alice, channels) = three_routes().await;
    let query = |amount_sat| RouteQuery {
        fee_limit_msat: 5_000_000,
        ..query(amount_sat)
    };
    for scid in [101, 102, 103] {
        set_minimum(&alice.graph, scid, 31_200_000);
    }
    let found = find(&alice, &query(30_000), &channels);
    assert_eq!(found, Err(NoRoute::NoPath));
    let enough = find(&alice, &query(31_200), &channels).unwrap();
    assert_eq!(enough.get_total_amount(), 31_200_000);
    reset_minimum(&alice.graph, 102);
    let other = find(&alice, &query(30_000), &channels).unwrap();
    assert_eq!(other.paths[0].hops[1].short_channel_id, 102);
    assert_eq!(other.get_total_amount(), 30_000_000);
    assert_eq!(other.get_total_fees(), u64::from(HOP_FEE_MSAT));
}

fn reset_minimum(graph: &NetworkGraph, scid: u64) {
    announce_policy(graph, scid, 3, 1);
}

#[tokio::test]
async fn amount_to_a_direct_peer_is_never_raised() {
    let (alice, mut channels) = three_routes().await;
    let query = |amount_sat| RouteQuery {
        payee: key(MIDDLE[0]),
        ..query(amount_sat)
    };
    channels.truncate(1);
    channels[0].next_outbound_htlc_minimum_msat = 30_050_000;
    let found = find(&alice, &query(30_000), &channels);
    assert_eq!(found, Err(NoRoute::NoPath));
    let route = find(&alice, &query(30_050), &channels).unwrap();
    assert_eq!(route.get_total_amount(), 30_050_000);
}

/// 100,000 sat fit on the first route; the rest is below the minimum of the other two.
#[tokio::test]
async fn parts_are_never_raised_to_meet_a_minimum() {
    let (alice, mut channels) = three_routes().await;
    let generous = |amount_sat| RouteQuery {
        fee_limit_msat: 50_000_000,
        ..query(amount_sat)
    };
    for scid in [102, 103] {
        set_minimum(&alice.graph, scid, 80_000_000);
    }
    let route = find(&alice, &generous(120_000), &channels);
    let total = route.as_ref().map(Route::get_total_amount);
    assert!(
        matches!(total, Ok(120_000_000) | Err(NoRoute::NoPath)),
        "{route:?}"
    );
    let route = find(&alice, &generous(99_000), &channels).unwrap();
    assert_eq!(
        (route.get_total_amount(), route.paths.len()),
        (99_000_000, 1)
    );
    // One channel can carry the whole amount, but no small part.
    channels[1].next_outbound_htlc_limit_msat = 50_000_000;
    reset_minimum(&alice.graph, 103);
    let route = find(&alice, &generous(120_000), &channels).unwrap();
    assert_eq!(route.get_total_amount(), 120_000_000);
}

/// If the amount is raised on an intermediate or own channel, the next node keeps the difference. It counts
/// as a fee, also towards the fee limit.
#[tokio::test]
async fn amounts_raised_before_the_last_hop_count_as_fees() {
    let (alice, mut channels) = three_routes().await;
    channels.truncate(1);
    channels[0].next_outbound_htlc_minimum_msat = 30_020_000;
    let query = query(30_000);
    match find(&alice, &query, &channels) {
        Ok(route) => {
            assert_eq!(route.get_total_amount(), 30_000_000);
            assert_eq!(
                route.paths[0].fee_msat(),
                20_000,
                "everything above the amount"
            );
            let tight = RouteQuery {
                fee_limit_msat: 19_999,
                ..query
            };
            assert!(find(&alice, &tight, &channels).is_err());
        }
        Err(error) => assert_eq!(error, NoRoute::NoPath),
    }
}

#[tokio::test]
async fn route_delivers_exactly_the_amount_for_any_minima() {
    let (alice, channels) = three_routes().await;
    // A linear congruential generator (Knuth's MMIX) for reproducible numbers.
    let mut state = 7u64;
    let mut below = move |end: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 16) % end
    };
    let mut found = 0;
    for round in 0..300 {
        for scid in [101, 102, 103] {
            let minimum = 1 + below(120_000_000);
            announce_policy(&alice.graph, scid, 10 + round, minimum);
        }
        let query = RouteQuery {
            fee_limit_msat: 300_000_000,
            ..query(1 + below(300_000))
        };
        if let Ok(route) = find(&alice, &query, &channels) {
            assert_eq!(route.get_total_amount(), query.amount_msat);
            found += 1;
        }
    }
    assert!(found > 50, "{found}");
}
