//! Checks of requests for new invoices.

use std::sync::Arc;

use bitcoin::Network;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use lightning_types::routing::{RouteHintHop, RoutingFees};

use super::*;
use crate::invoices::decode::DecodedInvoice;
use crate::invoices::test_registry::{Fixture, hash_of};
use crate::model::invoice::{HtlcSelection, InvoiceRef};

const FALLBACK: &str = "bcrt1q8an5cqcaqp8zakm09llck4vmzqz6l4wed28pm6";

fn refused(new: NewInvoice) -> String {
    match new.check(80) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    }
}

fn amp(expiry: Expiry) -> NewInvoice {
    NewInvoice {
        purpose: Purpose::Amp,
        expiry,
        ..NewInvoice::default()
    }
}

#[test]
fn defaults_match_lnd() {
    let checked = NewInvoice::default().check(80).unwrap();
    assert_eq!((checked.expiry, checked.cltv_delta), (86_400, 80));
    assert_eq!(checked.expires_at(1_000), Some(87_400));
    let amp = amp(Expiry::Default).check(80).unwrap();
    assert_eq!((amp.expiry, amp.cltv_delta), (2_592_000, 80));
    assert_eq!(amp.expires_at(1_000), Some(2_593_000));
    let low = NewInvoice::default().check(18).unwrap();
    assert_eq!(
        low.cltv_delta, MIN_CLTV_DELTA,
        "must be raised to LDK's minimum"
    );
}

#[test]
fn empty_route_hints_give_the_error_of_lnd() {
    let hop = RouteHintHop {
        src_node_id: "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619"
            .parse()
            .unwrap(),
        short_channel_id: 1,
        fees: RoutingFees {
            base_msat: 0,
            proportional_millionths: 0,
        },
        cltv_expiry_delta: 80,
        htlc_minimum_msat: None,
        htlc_maximum_msat: None,
    };
    let hop = RouteHint(vec![hop]);
    for purpose in [
        Purpose::default(),
        Purpose::Hold {
            hash: PaymentHash([1; 32]),
        },
        Purpose::Amp,
    ] {
        let new = |route_hints| NewInvoice {
            purpose,
            route_hints,
            ..NewInvoice::default()
        };
        assert!(new(vec![hop.clone()]).check(80).is_ok());
        let empty = new(vec![hop.clone(), RouteHint(Vec::new())]);
        assert_eq!(
            refused(empty),
            "number of hop hint within a route must be positive"
        );
    }
}

#[test]
fn rejects_values_beyond_the_limits() {
    let new = NewInvoice::default;
    let memo = |length| NewInvoice {
        memo: "m".repeat(length),
        ..new()
    };
    assert!(memo(1_024).check(80).is_ok());
    assert!(refused(memo(1_025)).contains("memo too large: 1025"));
    let value = |value_msat| NewInvoice {
        value_msat,
        ..new()
    };
    assert!(value(MAX_AMOUNT_MSAT).check(80).is_ok());
    assert!(refused(value(MAX_AMOUNT_MSAT + 1)).contains("100,000 BTC"));
    assert!(refused(value(u64::MAX)).contains("100,000 BTC"));
    let expiry = |seconds| NewInvoice {
        expiry: Expiry::Seconds(seconds),
        ..new()
    };
    assert!(expiry(MAX_EXPIRY).check(80).is_ok());
    assert!(refused(expiry(MAX_EXPIRY + 1)).contains("31536001"));
    let amp_expiry = amp(Expiry::Seconds(MAX_EXPIRY + 1));
    assert!(
        refused(amp_expiry).contains("31536001"),
        "must apply to AMP invoices"
    );
    let delta = |cltv_delta| NewInvoice {
        cltv_delta,
        ..new()
    };
    assert!(delta(42).check(80).is_ok() && delta(65_535).check(80).is_ok());
    for wrong in [1, 41, 65_536, u64::MAX] {
        assert!(refused(delta(wrong)).contains("CLTV delta"), "{wrong}");
    }
}

#[test]
fn only_amp_invoices_can_be_without_expiry() {
    let checked = amp(Expiry::Never).check(80).unwrap();
    assert_eq!(checked.expires_at(1_000), None);
    assert!(
        2_500_000_000 + checked.expiry < u64::from(u32::MAX),
        "must fit into 32 bits until the year 2049"
    );
    for purpose in [
        Purpose::default(),
        Purpose::Hold {
            hash: PaymentHash([1; 32]),
        },
    ] {
        let new = NewInvoice {
            purpose,
            ..amp(Expiry::Never)
        };
        assert!(refused(new).contains("only AMP invoices"));
    }
}

fn hint() -> RouteHint {
    let key = SecretKey::from_slice(&[3; 32]).unwrap();
    RouteHint(vec![RouteHintHop {
        src_node_id: PublicKey::from_secret_key(&Secp256k1::new(), &key),
        short_channel_id: 77,
        fees: RoutingFees {
            base_msat: 1,
            proportional_millionths: 2,
        },
        cltv_expiry_delta: 80,
        htlc_minimum_msat: None,
        htlc_maximum_msat: None,
    }])
}

#[tokio::test]
async fn created_invoices_decode_to_the_same_values() {
    let fixture = Fixture::new();
    let new = NewInvoice {
        memo: "für Kaffee ☕".into(),
        purpose: Purpose::Once {
            preimage: Some(PaymentPreimage([4; 32])),
        },
        value_msat: 123_456,
        expiry: Expiry::Seconds(7_200),
        cltv_delta: 144,
        private: true,
        route_hints: vec![hint()],
        fallback: Some(FALLBACK.parse().unwrap()),
        description_hash: None,
    };
    let record = fixture.registry.add(new.clone()).await.unwrap();
    let read: DecodedInvoice = record.terms.payment_request.parse().unwrap();
    assert_eq!(read.network, Network::Regtest);
    assert_eq!(read.payment_hash, hash_of(&[4; 32]));
    assert_eq!(read.payment_hash, record.payment_hash);
    assert_eq!(&read.payment_secret.0, record.payment_addr.as_bytes());
    assert_eq!(read.amount_msat, Some(123_456));
    assert_eq!((read.expiry, read.cltv_delta), (7_200, 144));
    assert_eq!(read.description, new.memo);
    assert_eq!(read.timestamp, record.created_at);
    assert_eq!(read.route_hints, new.route_hints);
    assert_eq!(read.fallback.as_deref(), Some(FALLBACK));
    assert!(read.is_multi_part() && !read.is_amp());
    let by_hash = InvoiceRef::Hash(read.payment_hash);
    let found = fixture
        .registry
        .lookup(&by_hash, HtlcSelection::All)
        .unwrap();
    assert_eq!(found.record, record);
}

#[tokio::test]
async fn private_invoices_add_our_hints_to_the_given_ones() {
    let fixture = Fixture::new();
    let registry = Arc::into_inner(fixture.registry).unwrap();
    let registry = registry.with_own_hints(Arc::new(|value_msat, given: &[RouteHint]| {
        assert_eq!((value_msat, given), (5, &[hint()][..]));
        vec![hint(), hint()]
    }));
    for (private, hints) in [(true, 3), (false, 1)] {
        let new = NewInvoice {
            value_msat: 5,
            private,
            route_hints: vec![hint()],
            ..NewInvoice::default()
        };
        let record = registry.add(new).await.unwrap();
        let read: DecodedInvoice = record.terms.payment_request.parse().unwrap();
        assert_eq!(read.route_hints.len(), hints);
    }
}

#[tokio::test]
async fn encodes_description_hashes_and_missing_amounts() {
    let fixture = Fixture::new();
    let new = NewInvoice {
        description_hash: Some([8; 32]),
        ..NewInvoice::default()
    };
    let record = fixture.registry.add(new).await.unwrap();
    let read: DecodedInvoice = record.terms.payment_request.parse().unwrap();
    assert_eq!(read.description_hash, Some([8; 32]));
    assert_eq!((read.amount_msat, read.description.as_str()), (None, ""));
    let extreme = NewInvoice {
        value_msat: MAX_AMOUNT_MSAT,
        expiry: Expiry::Seconds(MAX_EXPIRY),
        memo: "x".repeat(600),
        ..NewInvoice::default()
    };
    let record = fixture.registry.add(extreme).await.unwrap();
    let read: DecodedInvoice = record.terms.payment_request.parse().unwrap();
    assert_eq!(read.amount_msat, Some(MAX_AMOUNT_MSAT));
    assert_eq!(read.expiry, MAX_EXPIRY);
}

#[tokio::test]
async fn amp_invoices_have_random_hash_and_address_and_no_preimage() {
    let fixture = Fixture::new();
    let mut seen = std::collections::HashSet::new();
    for expiry in [Expiry::Default, Expiry::Never] {
        let record = fixture.registry.add(amp(expiry)).await.unwrap();
        let read: DecodedInvoice = record.terms.payment_request.parse().unwrap();
        assert_eq!(read.features, [8, 14, 30]);
        assert_eq!(read.payment_hash, record.payment_hash);
        assert_eq!(&read.payment_secret.0, record.payment_addr.as_bytes());
        assert_eq!(record.preimage, None);
        assert_eq!(read.expiry, record.terms.expiry);
        let expires_at = (expiry == Expiry::Default).then(|| read.expires_at());
        assert_eq!(record.expires_at, expires_at);
        assert!(seen.insert(record.payment_hash.0) && seen.insert(record.payment_addr.to_bytes()));
    }
}
