//! Which channels are accepted from peers, and with which terms.

use std::time::Duration;

use bitcoin::OutPoint;

use lightning::ln::msgs::ChannelParameters;
use lightning::ln::types::ChannelId;
use lightning::types::features::ChannelTypeFeatures;

use super::*;
use crate::channels::open::OpenError;
use crate::channels::test_node::{TestNode, two_nodes};
use crate::channels::unfunded::Found;

fn rules() -> AcceptRules {
    AcceptRules {
        min_channel_sat: 20_000,
        max_pending_per_peer: 1,
        require_reserve: true,
    }
}

pub(crate) fn request(peer: PublicKey) -> Request {
    Request {
        temporary_channel_id: ChannelId([1; 32]),
        counterparty_node_id: peer,
        funding_satoshis: 20_000,
        channel_negotiation_type: InboundChannelFunds::PushMsat(0),
        channel_type: ChannelTypeFeatures::anchors_zero_htlc_fee_and_dependencies(),
        is_announced: true,
        params: ChannelParameters {
            dust_limit_satoshis: 354,
            max_htlc_value_in_flight_msat: 20_000_000,
            htlc_minimum_msat: 1,
            commitment_feerate_sat_per_1000_weight: 253,
            to_self_delay: 144,
            max_accepted_htlcs: 483,
        },
    }
}

pub(crate) fn unknown_peer() -> PublicKey {
    let key = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
    key.parse().unwrap()
}

/// The funds of an empty wallet when the mempool is nearly empty.
const EMPTY_WALLET: ForcedCloseFunds = ForcedCloseFunds {
    missing: Amount::from_sat(1),
    mempool_min_sat_per_kw: 253,
};

#[test]
fn each_rule_alone_refuses_the_request() {
    let refused = |change: fn(&mut Request), funds| {
        let mut request = request(unknown_peer());
        change(&mut request);
        rules().check(&request, &[], funds)
    };
    let enough = ForcedCloseFunds::default();
    assert_eq!(refused(|_| (), enough), Ok(()));
    let too_small = Refusal::TooSmall {
        asked: 19_999,
        min: 20_000,
    };
    assert_eq!(
        refused(|r| r.funding_satoshis = 19_999, enough),
        Err(too_small)
    );
    let dual = |r: &mut Request| r.channel_negotiation_type = InboundChannelFunds::DualFunded;
    assert_eq!(refused(dual, enough), Err(Refusal::DualFunded));
    let zero_conf = |r: &mut Request| r.channel_type.set_zero_conf_required();
    assert_eq!(refused(zero_conf, enough), Err(Refusal::ZeroConf));
    assert_eq!(refused(|_| (), EMPTY_WALLET), Err(Refusal::Reserve));
}

#[test]
fn accepts_channels_without_anchors_without_a_reserve() {
    let mut request = request(unknown_peer());
    request.channel_type = ChannelTypeFeatures::only_static_remote_key();
    assert_eq!(rules().check(&request, &[], EMPTY_WALLET), Ok(()));
}

#[test]
fn without_a_reserve_the_commitment_fee_must_reach_the_mempool_minimum() {
    let rules = AcceptRules {
        require_reserve: false,
        ..rules()
    };
    let check = |missing_sat, offered| {
        let mut request = request(unknown_peer());
        request.params.commitment_feerate_sat_per_1000_weight = offered;
        let funds = ForcedCloseFunds {
            missing: Amount::from_sat(missing_sat),
            mempool_min_sat_per_kw: 2_000,
        };
        rules.check(&request, &[], funds)
    };
    assert_eq!(check(0, 253), Ok(()));
    assert_eq!(check(1, 2_000), Ok(()));
    let (offered, least) = (1_999, 2_000);
    assert_eq!(
        check(1, offered),
        Err(Refusal::CommitmentFee { offered, least })
    );
}

#[tokio::test]
async fn pending_channels_are_limited_per_peer() {
    let (alice, bob, _chain, _point) = two_nodes(400_000, 0).await;
    let mut existing = alice.manager.list_channels();
    let enough = ForcedCloseFunds::default();
    let request = request(bob.id);
    assert_eq!(rules().check(&request, &existing, enough), Ok(()));
    existing[0].is_channel_ready = false;
    assert_eq!(
        rules().check(&request, &existing, enough),
        Err(Refusal::TooManyPending)
    );
    let other = Request {
        counterparty_node_id: unknown_peer(),
        ..request
    };
    assert_eq!(rules().check(&other, &existing, enough), Ok(()));
}

/// More peers without a funded channel than LDK allows, from four addresses.
#[tokio::test]
async fn accepts_a_new_peer_despite_many_unfunded_channels() {
    let bob = TestNode::start(1).await;
    let mut others = Vec::new();
    for seed in 10..66 {
        let unknown_peer = TestNode::start(seed).await;
        let address = IpAddr::from([203, 0, 113, seed % 4]);
        bob.addresses
            .0
            .lock()
            .unwrap()
            .insert(unknown_peer.id, address);
        unknown_peer.connect(&bob).await;
        // Some are refused near the limit.
        if let Ok(point) = open(&unknown_peer, &bob).await {
            let is_pending = || bob.unfunded.is_unseen(&point);
            bob.until("the channel is pending", is_pending).await;
            answer_lookups(&bob, false);
        }
        others.push(unknown_peer);
    }
    // No channel may be evicted in the first seconds.
    bob.unfunded.age(Duration::from_secs(15));
    let address = IpAddr::from([203, 0, 113, 99]);
    for seed in 80..84 {
        let new_peer = TestNode::start(seed).await;
        bob.addresses.0.lock().unwrap().insert(new_peer.id, address);
        new_peer.connect(&bob).await;
        answer_lookups(&bob, false);
        let point = open(&new_peer, &bob).await.unwrap();
        let is_pending = || bob.unfunded.is_unseen(&point);
        bob.until("the channel is pending", is_pending).await;
        answer_lookups(&bob, true);
        let channels = bob.manager.list_channels_with_counterparty(&new_peer.id);
        assert_eq!(channels.len(), 1);
        others.push(new_peer);
    }
    assert!(
        bob.store.closed.lock().unwrap().is_empty(),
        "a record was kept"
    );
    bob.monitors.archive_fully_resolved_channel_monitors();
    let open = bob.manager.list_channels().len();
    assert_eq!(bob.monitors.list_monitors().len(), open);
}

async fn open(peer: &TestNode, bob: &TestNode) -> Result<OutPoint, OpenError> {
    let opening = peer.opener.open(&peer.request(bob, 50_000, 0)).unwrap();
    opening.funded().await
}

/// Reports bitcoind's answer for all funding outputs.
fn answer_lookups(bob: &TestNode, found: bool) {
    let found = if found {
        Found::Unconfirmed
    } else {
        Found::Nothing
    };
    for sought in bob.unfunded.to_look_for(Instant::now()) {
        let id = sought.user_channel_id;
        bob.unfunded.looked(id, found, Instant::now());
    }
}
