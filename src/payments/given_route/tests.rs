//! Tests of validating and converting given routes.

use bitcoin::secp256k1::{Secp256k1, SecretKey};

use super::*;

const HEIGHT: u32 = 123;

fn key(n: u8) -> PublicKey {
    let secret = SecretKey::from_slice(&[n; 32]).unwrap();
    PublicKey::from_secret_key(&Secp256k1::new(), &secret)
}

fn hop(node: u8, scid: u64, forward_msat: u64, expiry: u32) -> GivenHop {
    GivenHop {
        node: key(node),
        scid,
        forward_msat,
        expiry,
    }
}

/// Over two forwarding nodes: 1 sat and 80 blocks for each.
fn route() -> GivenRoute {
    GivenRoute {
        total_msat: 1_002_000,
        total_time_lock: 363,
        hops: vec![
            hop(2, 11, 1_001_000, 283),
            hop(3, 22, 1_000_000, 203),
            hop(4, 33, 1_000_000, 203),
        ],
    }
}

#[test]
fn ldk_builds_the_given_route() {
    let route = route();
    route.check(&key(1)).unwrap();
    let path = route.path(HEIGHT).unwrap();
    let fees: Vec<u64> = path.hops.iter().map(|hop| hop.fee_msat).collect();
    assert_eq!(fees, [1_000, 1_000, 1_000_000]);
    // LDK counts from the next block.
    let deltas: Vec<u32> = path.hops.iter().map(|hop| hop.cltv_expiry_delta).collect();
    assert_eq!(deltas, [80, 80, 203 - HEIGHT - 1]);
    assert_eq!(
        HEIGHT + 1 + deltas.iter().sum::<u32>(),
        route.total_time_lock
    );
    assert_eq!(path.fee_msat() + path.final_value_msat(), route.total_msat);
    let ways: Vec<_> = path
        .hops
        .iter()
        .map(|hop| (hop.pubkey, hop.short_channel_id))
        .collect();
    assert_eq!(ways, [(key(2), 11), (key(3), 22), (key(4), 33)]);
}

#[test]
fn stores_the_given_route() {
    let records = route().records();
    let shown: Vec<_> = records
        .iter()
        .map(|hop| {
            (
                hop.amt_to_forward_msat,
                hop.fee_msat,
                hop.expiry,
                hop.cltv_delta,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (1_001_000, 1_000, 283, 80),
            (1_000_000, 1_000, 203, 80),
            (1_000_000, 0, 203, 0)
        ]
    );
}

#[test]
fn accepts_circular_routes() {
    assert_eq!(route().check(&key(4)), Ok(()));
}

#[test]
fn errors_name_the_invalid_hop() {
    type Change = fn(&mut GivenRoute);
    let changes: [(Change, RouteError); 9] = [
        (|r| r.hops.clear(), RouteError::NoHops),
        (
            |r| r.hops = vec![hop(2, 11, 1, 1); 21],
            RouteError::TooManyHops,
        ),
        (|r| r.hops[2].forward_msat = 0, RouteError::NoAmount),
        (
            |r| r.total_msat = 1_000_999,
            RouteError::NegativeFee {
                hop: 1,
                forward_msat: 1_001_000,
                gets_msat: 1_000_999,
            },
        ),
        (
            |r| r.hops[1].expiry = 284,
            RouteError::NegativeDelta {
                hop: 2,
                expiry: 284,
                gets: 283,
            },
        ),
        (
            |r| r.hops[2].forward_msat -= 1,
            RouteError::LastHop {
                gets_msat: 1_000_000,
                gets_expiry: 203,
            },
        ),
        (
            |r| r.hops[2].expiry -= 1,
            RouteError::LastHop {
                gets_msat: 1_000_000,
                gets_expiry: 203,
            },
        ),
        (|r| r.hops[1].node = key(1), RouteError::ThroughUs(2)),
        (|r| r.hops[2].scid = 11, RouteError::ChannelTwice(11)),
    ];
    for (change, error) in changes {
        let mut route = route();
        change(&mut route);
        assert_eq!(route.check(&key(1)), Err(error));
    }
}

#[test]
fn rejects_past_expiries() {
    let (expiry, height) = (203, 202);
    let too_soon = RouteError::TooSoon { expiry, height };
    assert_eq!(route().path(height), Err(too_soon));
    assert!(route().path(height - 1).is_ok());
    assert!(route().path(u32::MAX).is_err());
}
