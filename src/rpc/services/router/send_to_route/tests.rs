//! Tests of SendToRoute requests, with the error texts of lnd.

use super::*;
use crate::rpc::test_recordings::recorded;
use lnd_api::proto::routerrpc::BuildRouteResponse;

const US: &str = "029b6941d70ecad6d7ec7e64712e4d10c1050fa2099498cae41894190e17883f0a";
const BOB: &str = "0263023b725db9e82890799459688ca409a67560e4dc5f3e9ff442e63bac5a1f5c";

/// A route with an AMP record, built by a real lnd.
fn request() -> SendToRouteRequest {
    let built: BuildRouteResponse = lnd_api::from_json(&recorded("buildroute.json")).unwrap();
    let mut route = built.route.unwrap();
    route.hops[1].amp_record = Some(lnrpc::AmpRecord {
        root_share: vec![1; 32],
        set_id: vec![2; 32],
        child_index: 3,
    });
    route.hops[1].custom_records.insert(65_536, vec![7]);
    SendToRouteRequest {
        payment_hash: vec![9; 32],
        route: Some(route),
        skip_temp_err: true,
        ..Default::default()
    }
}

fn read(request: SendToRouteRequest) -> Result<RouteAttempt, Status> {
    let (us, bob) = (US.parse().unwrap(), BOB.parse().unwrap());
    let ends = (NodeId::from_pubkey(&bob), NodeId::from_pubkey(&us));
    super::read(request, &us, |scid| {
        (scid == 123_145_302_441_984).then_some(ends)
    })
}

#[test]
fn parses_lnds_route() {
    let attempt = read(request()).unwrap();
    assert_eq!(attempt.payment_hash.0, [9; 32]);
    assert_eq!(attempt.route.total_msat, 1_001_001);
    assert_eq!(attempt.route.total_time_lock, 283);
    let hops: Vec<_> = attempt
        .route
        .hops
        .iter()
        .map(|hop| (hop.scid, hop.forward_msat, hop.expiry))
        .collect();
    assert_eq!(
        hops,
        [
            (123_145_302_441_984, 1_000_000, 203),
            (123_145_302_638_592, 1_000_000, 203)
        ]
    );
    assert_eq!(attempt.mpp.unwrap().total_msat, 1_000_000);
    let amp = attempt.amp.unwrap();
    assert_eq!(amp.share, Share::from_bytes([1; 32]));
    assert_eq!(
        (amp.set_id, amp.child_index),
        (SetId::from_bytes([2; 32]), 3)
    );
    assert_eq!(attempt.custom_records[&65_536], [7]);
    assert!(attempt.skip_temp_err && attempt.metadata.is_none());
}

#[test]
fn finds_hop_without_key_by_its_channel() {
    let mut request = request();
    request.route.as_mut().unwrap().hops[0].pub_key.clear();
    let attempt = read(request.clone()).unwrap();
    assert_eq!(attempt.route.hops[0].node.to_string(), BOB);
    request.route.as_mut().unwrap().hops[1].pub_key.clear();
    let text = "channel 123145302638592 is unknown: set pub_key of its hop";
    assert_eq!(read(request).unwrap_err().message(), text);
}

type Change = fn(&mut SendToRouteRequest);

fn first(request: &mut SendToRouteRequest) -> &mut lnrpc::Hop {
    &mut request.route.as_mut().unwrap().hops[0]
}

fn last(request: &mut SendToRouteRequest) -> &mut lnrpc::Hop {
    request.route.as_mut().unwrap().hops.last_mut().unwrap()
}

fn mpp(request: &mut SendToRouteRequest) -> &mut lnrpc::MppRecord {
    last(request).mpp_record.as_mut().unwrap()
}

fn amp(request: &mut SendToRouteRequest) -> &mut lnrpc::AmpRecord {
    last(request).amp_record.as_mut().unwrap()
}

/// Changes to a valid request, each with the text with which it is refused.
fn assert_refused(changes: &[(Change, &str)]) {
    for (change, text) in changes {
        let mut request = request();
        change(&mut request);
        assert_eq!(read(request).unwrap_err().message(), *text);
    }
}

#[test]
fn rejects_malformed_routes_with_lnds_texts() {
    assert_refused(&[
        (|r| r.route = None, "unable to send, no routes provided"),
        (
            |r| r.payment_hash = vec![1],
            "invalid hash length of 1, want 32",
        ),
        (
            |r| _ = r.first_hop_custom_records.insert(65_536, vec![]),
            "first_hop_custom_records is not supported",
        ),
        (
            |r| last(r).amt_to_forward_msat = -5,
            "amt_to_forward_msat must not be negative, is -5",
        ),
        (
            |r| r.route.as_mut().unwrap().total_amt_msat = -5,
            "total_amt_msat must not be negative, is -5",
        ),
        (
            |r| _ = last(r).custom_records.insert(14, vec![]),
            "no custom records with types below 65536 allowed",
        ),
        (
            |r| _ = first(r).custom_records.insert(65_536, vec![]),
            "custom_records and metadata are supported for the last hop only",
        ),
        (
            |r| last(r).encrypted_data = vec![1],
            "blinded hops are not supported",
        ),
        (
            |r| last(r).total_amt_msat = 5,
            "blinded hops are not supported",
        ),
    ]);
}

#[test]
fn rejects_malformed_mpp_and_amp_records_with_lnds_texts() {
    assert_refused(&[
        (
            |r| amp(r).root_share = vec![1; 31],
            "AMP root_share must be 32 bytes",
        ),
        (|r| amp(r).set_id = vec![], "AMP set_id must be 32 bytes"),
        (
            |r| *mpp(r) = lnrpc::MppRecord::default(),
            "missing total_msat and payment_addr",
        ),
        (|r| mpp(r).payment_addr.clear(), "missing payment_addr"),
        (|r| mpp(r).total_amt_msat = 0, "missing total_msat"),
        (
            |r| mpp(r).payment_addr = vec![1],
            "unable to parse payment_addr: invalid hash length of 1, want 32",
        ),
        (
            |r| mpp(r).total_amt_msat = -1,
            "total_amt_msat of mpp_record must not be negative, is -1",
        ),
        (
            |r| first(r).mpp_record = Some(lnrpc::MppRecord::default()),
            "cannot send MPP to intermediate",
        ),
        (
            |r| first(r).amp_record = Some(lnrpc::AmpRecord::default()),
            "cannot send MPP to intermediate",
        ),
    ]);
}
