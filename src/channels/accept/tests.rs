use super::*;
use crate::channels::test_node::two_nodes;

fn rules() -> AcceptRules {
    AcceptRules {
        min_channel_sat: 20_000,
        max_pending_per_peer: 1,
        reserve_per_channel_sat: RESERVE_PER_CHANNEL_SAT,
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

pub(crate) fn stranger() -> PublicKey {
    let key = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
    key.parse().unwrap()
}

#[test]
fn each_rule_refuses_on_its_own() {
    let refused = |change: fn(&mut Request), spendable| {
        let mut request = request(stranger());
        change(&mut request);
        rules().check(&request, &[], spendable)
    };
    assert_eq!(refused(|_| (), 10_000), Ok(()));
    let too_small = Refusal::TooSmall {
        asked: 19_999,
        min: 20_000,
    };
    assert_eq!(
        refused(|r| r.funding_satoshis = 19_999, 10_000),
        Err(too_small)
    );
    let dual = |r: &mut Request| r.channel_negotiation_type = InboundChannelFunds::DualFunded;
    assert_eq!(refused(dual, 10_000), Err(Refusal::DualFunded));
    let zero_conf = |r: &mut Request| r.channel_type.set_zero_conf_required();
    assert_eq!(refused(zero_conf, 10_000), Err(Refusal::ZeroConf));
    assert_eq!(refused(|_| (), 9_999), Err(Refusal::Reserve));
}

#[test]
fn channel_without_anchors_needs_no_reserve() {
    let mut request = request(stranger());
    request.channel_type = ChannelTypeFeatures::only_static_remote_key();
    assert_eq!(rules().check(&request, &[], 0), Ok(()));
}

#[tokio::test]
async fn reserve_grows_with_the_channels_and_pending_ones_count_per_peer() {
    let (alice, bob, _chain, _point) = two_nodes(400_000, 0).await;
    let mut existing = alice.manager.list_channels();
    let request = request(bob.id);
    assert_eq!(
        rules().check(&request, &existing, 19_999),
        Err(Refusal::Reserve)
    );
    assert_eq!(rules().check(&request, &existing, 20_000), Ok(()));
    existing[0].is_channel_ready = false;
    assert_eq!(
        rules().check(&request, &existing, 20_000),
        Err(Refusal::TooManyPending)
    );
    let other = Request {
        counterparty_node_id: stranger(),
        ..request
    };
    assert_eq!(rules().check(&other, &existing, 20_000), Ok(()));
    let many = vec![existing[0].clone(); 50];
    assert_eq!(rules().reserve_sat(&many), 100_000);
}
