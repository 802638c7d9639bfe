//! Tests on the finder's test network, which has three routes from Alice to Bob.

use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::router::InFlightHtlcs;
use lightning::types::payment::PaymentSecret;

use super::*;
use crate::channels::test_node::TestNode;
use crate::routing::finder::tests::{BOB, HOP_FEE_MSAT, MIDDLE, key, set_minimum, three_routes};
use crate::routing::graph::read_or_new_scorer;

struct Fixture {
    alice: TestNode,
    channels: Vec<ChannelDetails>,
    routes: Routes,
}

impl Fixture {
    async fn new() -> Self {
        let (alice, channels) = three_routes().await;
        let routes = routes(&alice);
        Self {
            alice,
            channels,
            routes,
        }
    }

    fn find(&self, query: RouteQuery, avoid: Avoid) -> Result<QueriedRoute, NoRoute> {
        self.find_with(query, avoid, true)
    }

    fn find_with(
        &self,
        query: RouteQuery,
        avoid: Avoid,
        use_scores: bool,
    ) -> Result<QueriedRoute, NoRoute> {
        let onion = RecipientOnionFields::secret_only(PaymentSecret([1; 32]));
        let route_request = RouteRequest {
            query,
            avoid,
            use_scores,
            onion: &onion,
        };
        let ours = OurChannels {
            usable: self.channels.clone(),
            in_flight: InFlightHtlcs::new(),
            height: 1,
        };
        self.routes.find(&route_request, &ours)
    }
}

pub(in crate::routing) fn routes(alice: &TestNode) -> Routes {
    let (graph, logger) = (alice.graph.clone(), Arc::new(LdkLogger));
    let scorer = Arc::new(read_or_new_scorer(None, &graph, &logger));
    let keys = Arc::new(KeysManager::new(&[5; 32], 1, 1, true));
    Routes::new(alice.manager.clone(), graph, scorer, keys, logger)
}

fn query(amount_sat: u64) -> RouteQuery {
    RouteQuery::new(key(BOB), amount_sat * 1000, 100_000)
}

fn id(node: u8) -> NodeId {
    NodeId::from_pubkey(&key(node))
}

fn first_node(route: &QueriedRoute) -> PublicKey {
    route.path.hops[0].pubkey
}

#[tokio::test]
async fn route_has_exactly_the_requested_final_delta() {
    let fixture = Fixture::new().await;
    let route = fixture.find(query(50_000), Avoid::default()).unwrap();
    let deltas: Vec<_> = route
        .path
        .hops
        .iter()
        .map(|hop| hop.cltv_expiry_delta)
        .collect();
    assert_eq!(deltas, [80, 79], "LDK counts from the next block");
    assert_eq!(route.path.fee_msat(), u64::from(HOP_FEE_MSAT));
    assert_eq!(route.path.final_value_msat(), 50_000_000);
}

#[tokio::test]
async fn ignored_nodes_and_pairs_are_avoided() {
    let fixture = Fixture::new().await;
    for use_scores in [true, false] {
        let avoid = Avoid {
            nodes: [id(MIDDLE[0])].into(),
            pairs: [(id(MIDDLE[1]), id(BOB))].into(),
        };
        let route = fixture.find_with(query(50_000), avoid, use_scores).unwrap();
        assert_eq!(first_node(&route), key(MIDDLE[2]));
        let ours = NodeId::from_pubkey(&fixture.alice.id);
        let avoid = Avoid {
            pairs: MIDDLE.map(|node| (ours, id(node))).into(),
            ..Avoid::default()
        };
        let none = fixture.find_with(query(50_000), avoid, use_scores);
        assert_eq!(none.unwrap_err(), NoRoute::NoPath);
        // Neither the opposite direction nor the payee itself is avoided.
        let avoid = Avoid {
            nodes: [id(BOB)].into(),
            pairs: MIDDLE.map(|node| (id(BOB), id(node))).into(),
        };
        assert!(fixture.find_with(query(50_000), avoid, use_scores).is_ok());
    }
}

#[tokio::test]
async fn route_is_never_split() {
    let fixture = Fixture::new().await;
    assert!(fixture.find(query(99_000), Avoid::default()).is_ok());
    let split = fixture.find(query(150_000), Avoid::default());
    assert_eq!(split.unwrap_err(), NoRoute::NoPath);
}

#[tokio::test]
async fn requested_first_and_last_hops_are_used() {
    let fixture = Fixture::new().await;
    let first = RouteQuery {
        outgoing_channels: vec![2],
        ..query(50_000)
    };
    let last = RouteQuery {
        last_hop: Some(key(MIDDLE[1])),
        ..query(50_000)
    };
    for query in [first, last] {
        let route = fixture.find(query, Avoid::default()).unwrap();
        assert_eq!(first_node(&route), key(MIDDLE[1]));
    }
}

#[tokio::test]
async fn error_states_why_there_is_no_route() {
    let fixture = Fixture::new().await;
    let cheap = RouteQuery {
        fee_limit_msat: 999,
        ..query(50_000)
    };
    let too_expensive = NoRoute::FeeLimit {
        limit_msat: 999,
        needed_msat: 1_000,
    };
    let to_us = RouteQuery {
        payee: fixture.alice.id,
        ..query(50_000)
    };
    let poor = NoRoute::InsufficientBalance {
        available_msat: 303_000_000,
        needed_msat: 400_000_000,
    };
    for (query, error) in [
        (cheap, too_expensive),
        (to_us, NoRoute::ToSelf),
        (query(0), NoRoute::NoAmount),
        (query(400_000), poor),
    ] {
        let found = fixture.find(query, Avoid::default());
        assert_eq!(found.unwrap_err(), error);
    }
}

#[tokio::test]
async fn success_probability_falls_with_the_amount_and_is_one_without_scores() {
    let fixture = Fixture::new().await;
    let probability = |sat, use_scores| {
        let found = fixture.find_with(query(sat), Avoid::default(), use_scores);
        found.unwrap().success_probability
    };
    let (small, large) = (probability(1_000, true), probability(99_000, true));
    assert!(
        0.0 < large && large < small && small <= 1.0,
        "{large} {small}"
    );
    assert_eq!(
        (probability(1_000, false), probability(99_000, false)),
        (1.0, 1.0)
    );
}

#[tokio::test]
async fn ends_returns_the_nodes_of_a_public_channel() {
    let fixture = Fixture::new().await;
    let (one, two) = fixture.routes.ends(101).unwrap();
    assert!(one < two && [one, two].contains(&id(MIDDLE[0])) && [one, two].contains(&id(BOB)));
    assert_eq!(fixture.routes.ends(999), None);
}

#[tokio::test]
async fn amount_is_never_raised_to_meet_a_minimum() {
    let fixture = Fixture::new().await;
    for scid in [101, 103] {
        set_minimum(&fixture.alice.graph, scid, 1_040_000);
    }
    for use_scores in [true, false] {
        let found = fixture.find_with(query(1_000), Avoid::default(), use_scores);
        let path = found.unwrap().path;
        assert_eq!(path.final_value_msat(), 1_000_000);
        assert_eq!(path.hops[1].short_channel_id, 102);
    }
    set_minimum(&fixture.alice.graph, 102, 1_000_001);
    let found = fixture.find(query(1_000), Avoid::default());
    assert_eq!(found.unwrap_err(), NoRoute::NoPath);
}
