//! The `amp` and `onion` modules from the outside: unmodified LDK channel managers send, receive, claim and
//! fail AMP shards, and the sender's LDK decodes the failures.

use ldk_amp::{
    AmpRecord, Claim, HtlcSet, MppRecord, Outcome, PaymentAddr, SetHtlc, SetId, SetLimits, Shard,
    Share, Splitter,
};
use ldk_amp::{ENVELOPE_TYPE, Envelope, recipient_fields};
use lightning::events::Event;
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::ln::functional_test_utils::*;
use lightning::ln::msgs::{BaseMessageHandler, MessageSendEvent};
use lightning::types::payment::{PaymentHash, PaymentSecret};
use lightning::util::ser::Writeable;

use crate::network::{Network, envelope_key};

const SET_ID: SetId = SetId::from_bytes([0xaa; 32]);
const ADDR: PaymentAddr = PaymentAddr::from_bytes([0xbb; 32]);
const TOTAL: u64 = 100_000;
const CHAT: (u64, &[u8]) = (34_349_334, b"hello");

const INVALID_ONION_PAYLOAD: u16 = 0x4000 | 22;
const INCORRECT_PAYMENT_DETAILS: u16 = 0x4000 | 15;
const MPP_TIMEOUT: u16 = 23;

fn shards(count: u32) -> Vec<Shard> {
    let mut splitter = Splitter::new(Share::from_bytes([0x42; 32]));
    let shard = |i| {
        splitter
            .next_shard([i as u8 + 1; 32], i << 20, i + 1 == count)
            .unwrap()
    };
    (0..count).map(shard).collect()
}

fn onion(shard: &Shard) -> RecipientOnionFields {
    let mpp = MppRecord {
        payment_addr: ADDR,
        total_msat: TOTAL,
    };
    let amp = AmpRecord {
        share: shard.share.clone(),
        set_id: SET_ID,
        child_index: shard.index,
    };
    recipient_fields(&mpp, Some(&amp), None, &[(CHAT.0, CHAT.1.to_vec())]).unwrap()
}

fn id(hash: PaymentHash) -> PaymentId {
    PaymentId(hash.0)
}

/// Returns the envelope and HTLC of the only event, which must be `PaymentClaimable`.
fn claimable(receiver: usize, events: Vec<Event>) -> (Envelope, SetHtlc) {
    let [
        Event::PaymentClaimable {
            payment_hash,
            amount_msat,
            onion_fields,
            claim_deadline,
            ..
        },
    ] = &events[..]
    else {
        panic!("expected PaymentClaimable: {events:?}")
    };
    let tlvs = onion_fields.as_ref().unwrap().custom_tlvs();
    let envelope = Envelope::open(&envelope_key(receiver), payment_hash, tlvs).unwrap();
    assert_eq!(envelope.custom_records(tlvs), [(CHAT.0, CHAT.1.to_vec())]);
    let htlc = SetHtlc {
        key: envelope.key(),
        payment_hash: *payment_hash,
        amount_msat: *amount_msat,
        share: envelope.amp.share.clone(),
        child_index: envelope.amp.child_index,
        total_msat: envelope.mpp.unwrap().total_msat,
        cltv_expiry: envelope.cltv_expiry,
        claim_deadline: *claim_deadline,
        accepted_height: 0,
        accepted_at: 0,
    };
    (envelope, htlc)
}

/// Returns the failure code that the sender decodes, and whether the failure is permanent.
fn failure_code(events: &[Event]) -> (u16, bool) {
    let code = events.iter().find_map(|event| match event {
        Event::PaymentPathFailed {
            error_code,
            payment_failed_permanently,
            ..
        } => Some((error_code.unwrap(), *payment_failed_permanently)),
        _ => None,
    });
    code.unwrap_or_else(|| panic!("no failure in {events:?}"))
}

#[test]
fn ldk_accepts_amp_onions_only_behind_the_gateway() {
    let network = Network::new(2);
    let scid = network.channel(0, 1);
    let shard = &shards(1)[0];

    network.use_gateways.set(false);
    network.send(
        &[(1, scid)],
        TOTAL,
        shard.child.hash,
        onion(shard),
        id(shard.child.hash),
    );
    assert!(matches!(
        network.events(1)[..],
        [Event::HTLCHandlingFailed { .. }]
    ));
    assert_eq!(
        failure_code(&network.events(0)),
        (INVALID_ONION_PAYLOAD, true)
    );

    network.use_gateways.set(true);
    network.send(
        &[(1, scid)],
        TOTAL,
        shard.child.hash,
        onion(shard),
        id(shard.child.hash),
    );
    let (envelope, htlc) = claimable(1, network.events(1));
    assert_eq!(
        envelope.mpp,
        Some(MppRecord {
            payment_addr: ADDR,
            total_msat: TOTAL
        })
    );
    assert_eq!(envelope.amp.set_id, SET_ID);
    assert_eq!(htlc.amount_msat, TOTAL);
}

#[test]
fn set_over_two_channels_is_claimed_with_derived_preimages() {
    let network = Network::new(2);
    let scids = [network.channel(0, 1), network.channel(0, 1)];
    let mut set = HtlcSet::new(SET_ID, SetLimits::default());
    let mut outcome = Outcome::Hold;
    let shards = shards(4);
    for (i, shard) in shards.iter().enumerate() {
        assert_eq!(outcome, Outcome::Hold);
        let hash = shard.child.hash;
        network.send(
            &[(1, scids[i % 2])],
            TOTAL / 4,
            hash,
            onion(shard),
            id(hash),
        );
        let (_, htlc) = claimable(1, network.events(1));
        outcome = set.accept(htlc, network.nodes[1].best_block_info().1);
    }
    let Outcome::Settle(claims) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(claims.len(), 4);
    for Claim { preimage, .. } in claims {
        network.nodes[1]
            .node
            .claim_funds_with_known_custom_tlvs(preimage);
    }
    network.run_until_idle();

    let claimed = network.events(1);
    assert_eq!(claimed.len(), 4);
    assert!(
        claimed
            .iter()
            .all(|event| matches!(event, Event::PaymentClaimed { .. }))
    );
    let sent = network.events(0);
    for shard in &shards {
        assert!(sent.iter().any(|event| matches!(event, Event::PaymentSent {
            payment_preimage, payment_hash, ..
        } if *payment_hash == shard.child.hash && *payment_preimage == shard.child.preimage)));
    }
}

#[test]
fn sender_decodes_ldks_failure_of_a_shard_over_two_hops() {
    let network = Network::new(3);
    let hops = [(1, network.channel(0, 1)), (2, network.channel(1, 2))];
    let shard = &shards(2)[0];
    network.send(
        &hops,
        TOTAL / 2,
        shard.child.hash,
        onion(shard),
        id(shard.child.hash),
    );
    let (_, htlc) = claimable(2, network.events(2));
    network.nodes[2]
        .node
        .fail_htlc_backwards(&htlc.payment_hash);
    network.run_until_idle();
    for node in [2, 1] {
        assert!(matches!(
            network.events(node)[..],
            [Event::HTLCHandlingFailed { .. }]
        ));
    }
    assert_eq!(
        failure_code(&network.events(0)),
        (INCORRECT_PAYMENT_DETAILS, true)
    );
}

#[test]
fn marked_shard_fails_with_mpp_timeout_over_two_hops() {
    let network = Network::new(3);
    let hops = [(1, network.channel(0, 1)), (2, network.channel(1, 2))];
    let shards = shards(2);
    for shard in &shards {
        let hash = shard.child.hash;
        network.send(&hops, TOTAL / 4, hash, onion(shard), id(hash));
    }
    let (marked, other) = {
        let mut events = network.events(2);
        let second = claimable(2, vec![events.pop().unwrap()]);
        (claimable(2, events), second)
    };
    network.gateways[2].mark_mpp_timeout(&marked.0);
    for (_, htlc) in [&marked, &other] {
        network.nodes[2]
            .node
            .fail_htlc_backwards(&htlc.payment_hash);
    }
    network.run_until_idle();
    for node in [2, 1] {
        let events = network.events(node);
        assert!(
            events
                .iter()
                .all(|event| matches!(event, Event::HTLCHandlingFailed { .. }))
        );
    }
    let events = network.events(0);
    let code = |hash: PaymentHash| {
        let about = |event: &&Event| match event {
            Event::PaymentPathFailed { payment_hash, .. } => *payment_hash == hash,
            _ => false,
        };
        failure_code(&events.iter().filter(about).cloned().collect::<Vec<_>>()).0
    };
    assert_eq!(code(marked.1.payment_hash), MPP_TIMEOUT);
    assert_eq!(code(other.1.payment_hash), INCORRECT_PAYMENT_DETAILS);
}

#[test]
fn mpp_timeout_is_retransmitted_after_a_reconnect() {
    let network = Network::new(2);
    let scid = network.channel(0, 1);
    let shard = &shards(2)[0];
    network.send(
        &[(1, scid)],
        TOTAL / 2,
        shard.child.hash,
        onion(shard),
        id(shard.child.hash),
    );
    let (envelope, htlc) = claimable(1, network.events(1));
    network.gateways[1].mark_mpp_timeout(&envelope);
    network.nodes[1]
        .node
        .fail_htlc_backwards(&htlc.payment_hash);
    network.nodes[1].node.process_pending_htlc_forwards();

    let lost = network.handlers[1].get_and_clear_pending_msg_events();
    assert!(
        matches!(lost[..], [MessageSendEvent::UpdateHTLCs { .. }]),
        "{lost:?}"
    );
    network.nodes[0]
        .node
        .peer_disconnected(network.nodes[1].node.get_our_node_id());
    network.nodes[1]
        .node
        .peer_disconnected(network.nodes[0].node.get_our_node_id());
    connect_nodes(&network.nodes[0], &network.nodes[1]);
    network.run_until_idle();

    assert!(matches!(
        network.events(1)[..],
        [Event::HTLCHandlingFailed { .. }]
    ));
    assert_eq!(failure_code(&network.events(0)).0, MPP_TIMEOUT);
}

#[test]
fn forged_envelope_is_dropped_from_a_regular_payment() {
    let network = Network::new(2);
    let scid = network.channel(0, 1);
    let (_, hash, secret) = get_payment_preimage_hash(&network.nodes[1], Some(TOTAL), None);
    let custom = vec![(65_537, vec![1]), (ENVELOPE_TYPE, vec![2; 200])];
    let onion = RecipientOnionFields::secret_only(secret)
        .with_custom_tlvs(custom)
        .unwrap();
    network.send(&[(1, scid)], TOTAL, hash, onion, id(hash));
    let events = network.events(1);
    let [
        Event::PaymentClaimable {
            onion_fields: Some(fields),
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(fields.custom_tlvs(), &vec![(65_537, vec![1])]);
}

#[test]
fn regular_payment_passes_gateways_over_two_hops() {
    let network = Network::new(3);
    let hops = [(1, network.channel(0, 1)), (2, network.channel(1, 2))];
    let (preimage, hash, secret) = get_payment_preimage_hash(&network.nodes[2], Some(TOTAL), None);
    network.send(
        &hops,
        TOTAL,
        hash,
        RecipientOnionFields::secret_only(secret),
        id(hash),
    );
    assert!(matches!(
        network.events(2)[..],
        [Event::PaymentClaimable { .. }]
    ));
    network.nodes[2].node.claim_funds(preimage);
    network.run_until_idle();
    assert!(matches!(
        network.events(2)[..],
        [Event::PaymentClaimed { .. }]
    ));
    let sent = network.events(0);
    assert!(
        sent.iter()
            .any(|event| matches!(event, Event::PaymentSent { .. })),
        "{sent:?}"
    );
    assert!(matches!(
        network.events(1)[..],
        [Event::PaymentForwarded { .. }]
    ));
}

/// Returns the onion fields of one part of a regular payment, which LDK has no constructor for.
fn part_of(secret: PaymentSecret, total_msat: u64) -> RecipientOnionFields {
    let payment_data = MppRecord {
        payment_addr: PaymentAddr::from_bytes(secret.0),
        total_msat,
    };
    let list = [8u64.encode(), payment_data.encode().encode()].concat();
    let body = [&[1, list.len() as u8][..], &list].concat();
    let bytes = [&[body.len() as u8][..], &body].concat();
    lightning::util::ser::Readable::read(&mut &bytes[..]).unwrap()
}

#[test]
fn shard_does_not_complete_a_regular_payment_with_the_same_hash() {
    let network = Network::new(2);
    let scid = network.channel(0, 1);
    let (_, hash, secret) = get_payment_preimage_hash(&network.nodes[1], Some(TOTAL), None);
    let half = TOTAL / 2;
    network.send(
        &[(1, scid)],
        half,
        hash,
        part_of(secret, TOTAL),
        PaymentId([1; 32]),
    );
    assert!(network.events(1).is_empty(), "half of the payment is held");
    network.send(
        &[(1, scid)],
        half,
        hash,
        onion(&shards(1)[0]),
        PaymentId([2; 32]),
    );
    assert!(matches!(
        network.events(1)[..],
        [Event::HTLCHandlingFailed { .. }]
    ));
    assert_eq!(
        failure_code(&network.events(0)).0,
        INCORRECT_PAYMENT_DETAILS
    );
    network.send(
        &[(1, scid)],
        half,
        hash,
        part_of(secret, TOTAL),
        PaymentId([3; 32]),
    );
    assert!(matches!(
        network.events(1)[..],
        [Event::PaymentClaimable {
            amount_msat: TOTAL,
            ..
        }]
    ));
}

#[test]
fn regular_payment_does_not_join_a_held_shard_with_the_same_hash() {
    let network = Network::new(2);
    let scid = network.channel(0, 1);
    let (_, hash, secret) = get_payment_preimage_hash(&network.nodes[1], Some(TOTAL), None);
    network.send(
        &[(1, scid)],
        TOTAL,
        hash,
        onion(&shards(1)[0]),
        PaymentId([1; 32]),
    );
    let (_, htlc) = claimable(1, network.events(1));
    assert_eq!(htlc.amount_msat, TOTAL);
    let regular = RecipientOnionFields::secret_only(secret);
    network.send(&[(1, scid)], TOTAL, hash, regular, PaymentId([2; 32]));
    assert!(matches!(
        network.events(1)[..],
        [Event::HTLCHandlingFailed { .. }]
    ));
    assert_eq!(
        failure_code(&network.events(0)).0,
        INCORRECT_PAYMENT_DETAILS
    );
}

/// LDK compares the expiry of a payment secret with the newest block's timestamp, a u32.
#[test]
fn shard_is_accepted_at_the_latest_possible_block_time() {
    let network = Network::new(2);
    let scid = network.channel(0, 1);
    for node in &network.nodes {
        let block = create_dummy_block(node.best_block_hash(), u32::MAX, Vec::new());
        connect_block(node, &block);
    }
    let shard = &shards(1)[0];
    network.send(
        &[(1, scid)],
        TOTAL,
        shard.child.hash,
        onion(shard),
        id(shard.child.hash),
    );
    claimable(1, network.events(1));
}

#[test]
fn advertises_amp_and_ldks_features_except_keysend_and_splicing() {
    let network = Network::new(2);
    let peer = network.nodes[0].node.get_our_node_id();
    let (gateway, inner) = (&network.handlers[1], network.nodes[1].node);

    let mut node = inner.provided_node_features();
    node.set_optional_feature_bit(31).unwrap();
    // Unlike LDK, ampd advertises keysend only if it is enabled.
    node.clear_keysend();
    // LDK rejects every splice that a peer proposes.
    node.clear_splicing();
    assert_eq!(gateway.provided_node_features(), node);
    let mut init = inner.provided_init_features(peer);
    init.set_optional_feature_bit(31).unwrap();
    assert!(init.supports_splicing());
    init.clear_splicing();
    assert_eq!(gateway.provided_init_features(peer), init);
    assert_eq!(init.le_flags()[3] & 0x80, 0x80, "bit 31");
}
