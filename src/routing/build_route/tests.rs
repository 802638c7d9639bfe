//! Routes built from a list of nodes.

use proptest::prelude::*;

use super::*;
use crate::routing::finder::tests::{BOB, CHANNEL_SAT, HOP_FEE_MSAT, MIDDLE, key, three_routes};
use crate::routing::query_routes::tests::routes;

fn plan(nodes: &[u8], amount_msat: Option<u64>) -> RoutePlan {
    RoutePlan {
        nodes: nodes.iter().map(|node| key(*node)).collect(),
        amount_msat,
        final_cltv_delta: 40,
        outgoing_channel: None,
    }
}

#[tokio::test]
async fn build_fills_in_channels_fees_and_expiries() {
    let (alice, channels) = three_routes().await;
    let routes = routes(&alice);
    let plan = plan(&[MIDDLE[1], BOB], Some(50_000_000));
    let path = routes.build_over(&channels, &plan).unwrap();
    let hops = path.hops.iter();
    let hops: Vec<_> = hops
        .map(|hop| {
            (
                hop.pubkey,
                hop.short_channel_id,
                hop.fee_msat,
                hop.cltv_expiry_delta,
            )
        })
        .collect();
    let fee_msat = u64::from(HOP_FEE_MSAT);
    assert_eq!(
        hops,
        [
            (key(MIDDLE[1]), 2, fee_msat, 80),
            (key(BOB), 102, 50_000_000, 39)
        ]
    );
}

#[tokio::test]
async fn error_gives_the_index_of_the_node_without_a_suitable_channel() {
    let (alice, channels) = three_routes().await;
    let routes = routes(&alice);
    let too_much = CHANNEL_SAT * 1000 + 1;
    for (plan, error) in [
        (plan(&[], None), BuildError::NoHops),
        (plan(&[BOB], Some(1_000)), BuildError::NoChannel(0)),
        (
            plan(&[MIDDLE[0], MIDDLE[1]], Some(1_000)),
            BuildError::NoChannel(1),
        ),
        (
            plan(&[MIDDLE[0], BOB], Some(too_much)),
            BuildError::NoChannel(1),
        ),
        (
            RoutePlan {
                outgoing_channel: Some(2),
                ..plan(&[MIDDLE[0], BOB], Some(1_000))
            },
            BuildError::NoChannel(0),
        ),
    ] {
        assert_eq!(routes.build_over(&channels, &plan), Err(error));
    }
    assert_eq!(
        BuildError::NoChannel(1).to_string(),
        "no matching outgoing channel available for node index 1"
    );
}

#[tokio::test]
async fn smallest_amount_is_used_by_default() {
    let (alice, mut channels) = three_routes().await;
    let routes = routes(&alice);
    for channel in &mut channels {
        channel.next_outbound_htlc_minimum_msat = 5_000;
    }
    let path = routes.build_over(&channels, &plan(&[MIDDLE[0], BOB], None));
    // Together with the forwarder's fee this equals the minimum of our channel.
    assert_eq!(path.unwrap().final_value_msat(), 4_000);
}

fn link(min_msat: u64, base_msat: u64, millionths: u64) -> Link {
    Link {
        scid: min_msat ^ base_msat,
        min_msat,
        max_msat: u64::MAX / 4,
        base_msat,
        millionths,
        cltv_delta: 40,
    }
}

#[test]
fn cheapest_channel_that_carries_the_amount_is_used() {
    let narrow = Link {
        max_msat: 999,
        ..link(0, 1, 0)
    };
    let choice = vec![narrow, link(0, 5, 0), link(2_000, 3, 0), link(0, 4, 0)];
    let links = vec![vec![link(0, 0, 0)], choice];
    let fee = |amount| {
        let legs = legs(&links, amount).unwrap();
        legs[0].amount_msat - legs[1].amount_msat
    };
    assert_eq!((fee(500), fee(1_000), fee(2_000)), (1, 4, 3));
}

#[test]
fn rejects_amounts_beyond_u64() {
    let expensive = Link {
        max_msat: u64::MAX,
        ..link(0, u64::MAX, 0)
    };
    let links = vec![vec![link(0, 0, 0)], vec![expensive]];
    assert!(matches!(legs(&links, 5), Err(BuildError::TooLarge)));
}

proptest! {
    /// With one channel per hop, the smallest amount is forwarded and one msat less is not.
    #[test]
    fn smallest_amount_is_minimal(
        links in proptest::collection::vec((0..100_000u64, 0..2_000u64, 0..50_000u64), 1..6),
    ) {
        let links: Vec<_> = links.into_iter().map(|(min, base, part)| vec![link(min, base, part)]).collect();
        let smallest = smallest_msat(&links).unwrap();
        prop_assert!(legs(&links, smallest).is_ok());
        if smallest > 1 {
            prop_assert!(legs(&links, smallest - 1).is_err());
        }
    }
}
