//! The rewriting against recorded onions of lnd and LDK's own decoder.

use std::collections::BTreeMap;

use bitcoin::secp256k1::SecretKey;
use lightning::ln::channelmanager::PendingHTLCRouting;
use lightning::ln::msgs::FinalOnionHopData;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;
use lightning::util::test_utils::{TestLogger, TestNodeSigner};
use proptest::prelude::*;

use super::super::test_data::{VectorOnion, onions};
use super::super::tlv;
use super::*;
use crate::{PaymentAddr, SetId, Share};

type Records = BTreeMap<u64, Vec<u8>>;

const HASH: PaymentHash = PaymentHash([3; 32]);
const AMOUNT: u64 = 40_000;
const NODE_SECRET: [u8; 32] = [0x31; 32];

fn envelope_key() -> EnvelopeKey {
    EnvelopeKey::from_seed(&[1; 32])
}

fn rewriter() -> Rewriter {
    Rewriter::new(envelope_key(), ExpandedKey::new([2; 32]))
}

fn signer(secret: [u8; 32]) -> TestNodeSigner {
    TestNodeSigner::new(SecretKey::from_slice(&secret).unwrap())
}

fn message(packet: OnionPacket, payment_hash: PaymentHash, amount_msat: u64) -> UpdateAddHTLC {
    UpdateAddHTLC {
        channel_id: ChannelId([7; 32]),
        htlc_id: 8,
        amount_msat,
        payment_hash,
        cltv_expiry: 850_200,
        skimmed_fee_msat: None,
        onion_routing_packet: packet,
        blinding_point: None,
        hold_htlc: None,
    }
}

/// The HTLC that the last hop of a recorded onion receives, and that hop's signer.
fn recorded(onion: &VectorOnion) -> (UpdateAddHTLC, TestNodeSigner) {
    let last = onion.hops.last().unwrap();
    let message = message(last.packet.clone(), onion.payment_hash, onion.amount_msat);
    (message, TestNodeSigner::new(last.private_key))
}

/// An HTLC to the node of [`NODE_SECRET`] with these records in its payload.
fn made(records: &Records) -> UpdateAddHTLC {
    let ephemeral_key = onions()[0].hops[0].packet.public_key.unwrap();
    let secret = HopSecret::shared(&signer(NODE_SECRET), &ephemeral_key).unwrap();
    let borrowed: Vec<_> = records
        .iter()
        .map(|(kind, value)| Record { kind: *kind, value })
        .collect();
    message(
        packet::seal(&secret, ephemeral_key, &HASH, &borrowed).unwrap(),
        HASH,
        AMOUNT,
    )
}

/// What LDK is to see instead, of an HTLC that is not refused.
fn rewrite(message: &UpdateAddHTLC) -> Result<UpdateAddHTLC, Untouched> {
    let rewritten = rewriter().rewrite(message, &signer(NODE_SECRET))?;
    assert_eq!(rewritten.refusal, None);
    Ok(rewritten.message)
}

/// Why this HTLC is refused; LDK itself answers PERM|15 then.
#[track_caller]
fn fault(message: &UpdateAddHTLC) -> Fault {
    let signer = signer(NODE_SECRET);
    let rewritten = rewriter().rewrite(message, &signer).unwrap();
    let refused = peel(&rewritten.message, &signer).err();
    assert_eq!(
        refused,
        Some(LocalHTLCFailureReason::InvalidKeysendPreimage)
    );
    let refusal = rewritten.refusal.unwrap();
    assert_eq!(
        refusal.reason.is_none(),
        matches!(refusal.fault, Fault::Details(_))
    );
    refusal.fault
}

fn opened(message: &UpdateAddHTLC, signer: &TestNodeSigner) -> Records {
    let onion = &message.onion_routing_packet;
    let secret = HopSecret::shared(signer, &onion.public_key.unwrap()).unwrap();
    let payload = packet::open(&secret, onion, &message.payment_hash).unwrap();
    let records = payload.records().unwrap();
    records
        .iter()
        .map(|record| (record.kind, record.value.to_vec()))
        .collect()
}

fn envelope_in(message: &UpdateAddHTLC, records: &Records) -> Option<Envelope> {
    let tlvs: Vec<_> = records.clone().into_iter().collect();
    Envelope::open(&envelope_key(), &message.payment_hash, &tlvs)
}

fn mpp() -> MppRecord {
    MppRecord {
        payment_addr: PaymentAddr::from_bytes([4; 32]),
        total_msat: 70_000,
    }
}

fn amp() -> AmpRecord {
    let set_id = SetId::from_bytes([5; 32]);
    AmpRecord {
        share: Share::from_bytes([6; 32]),
        set_id,
        child_index: 1,
    }
}

/// The payload of an ordinary AMP shard.
fn shard() -> Records {
    Records::from([
        (2, vec![0x9c, 0x40]),
        (4, vec![0x0c, 0xf8, 0xa0]),
        (8, mpp().encode()),
        (14, amp().encode().to_vec()),
    ])
}

fn with(changes: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Records {
    let mut records = shard();
    records.extend(changes);
    records
}

fn without(kind: u64) -> Records {
    let mut records = shard();
    records.remove(&kind);
    records
}

/// What LDK's own decoder makes of an HTLC of ours.
struct Peeled {
    payment_data: FinalOnionHopData,
    metadata: Option<Vec<u8>>,
    custom_tlvs: Vec<(u64, Vec<u8>)>,
}

fn ldk_reason(message: &UpdateAddHTLC, signer: &TestNodeSigner) -> Option<LocalHTLCFailureReason> {
    let (logger, secp) = (TestLogger::new(), Secp256k1::new());
    peel_payment_onion(message, signer, &logger, &secp, 850_000, false)
        .err()
        .map(|error| error.reason)
}

fn peel(
    message: &UpdateAddHTLC,
    signer: &TestNodeSigner,
) -> Result<Peeled, LocalHTLCFailureReason> {
    let (logger, secp) = (TestLogger::new(), Secp256k1::new());
    let info = peel_payment_onion(message, signer, &logger, &secp, 850_000, false)
        .map_err(|error| error.reason)?;
    match info.routing {
        PendingHTLCRouting::Receive {
            payment_data,
            payment_metadata,
            custom_tlvs,
            ..
        } => Ok(Peeled {
            payment_data,
            metadata: payment_metadata,
            custom_tlvs,
        }),
        _ => panic!("not received as an ordinary payment"),
    }
}

#[test]
fn recorded_amp_onions_open_with_ldks_decoder_after_the_rewriting_only() {
    let mut seen = 0;
    for onion in onions().iter().filter(|onion| onion.amp.is_some()) {
        let (message, signer) = recorded(onion);
        let refused = peel(&message, &signer).err();
        assert_eq!(
            refused,
            Some(LocalHTLCFailureReason::InvalidOnionPayload),
            "{}",
            onion.name
        );

        let rewritten = rewriter().rewrite(&message, &signer).unwrap();
        assert_eq!(rewritten.refusal, None, "{}", onion.name);
        let rewritten = rewritten.message;
        let peeled = peel(&rewritten, &signer).unwrap();
        assert_eq!(
            peeled.payment_data.total_msat, onion.amount_msat,
            "{}",
            onion.name
        );
        let key = message.onion_routing_packet.public_key;
        assert_eq!(
            rewritten.onion_routing_packet.public_key, key,
            "{}",
            onion.name
        );

        let tlvs = &peeled.custom_tlvs;
        let envelope = Envelope::open(&envelope_key(), &onion.payment_hash, tlvs).unwrap();
        assert_eq!(envelope.mpp, onion.mpp, "{}", onion.name);
        assert_eq!(Some(&envelope.amp), onion.amp.as_ref(), "{}", onion.name);
        assert_eq!(envelope.channel_id, message.channel_id);
        assert_eq!(envelope.htlc_id, message.htlc_id);
        assert_eq!(envelope.cltv_expiry, message.cltv_expiry);
        assert_eq!(Ok(envelope.ephemeral_key), key);

        let sent = opened(&message, &signer);
        assert_eq!(
            sent[&2],
            tu64::encode(onion.amount_msat),
            "{}",
            onion.name
        );
        assert_eq!(
            sent[&4],
            tu64::encode(onion.cltv.into()),
            "{}",
            onion.name
        );
        assert_eq!(peeled.metadata, sent.get(&16).cloned(), "{}", onion.name);
        let sent: Vec<_> = sent
            .into_iter()
            .filter(|(kind, _)| *kind >= 65_536)
            .collect();
        assert_eq!(envelope.custom_records(tlvs), sent, "{}", onion.name);
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn recorded_onions_without_an_amp_record_stay_as_they_are() {
    let mut seen = 0;
    for onion in onions().iter().filter(|onion| onion.amp.is_none()) {
        let (message, signer) = recorded(onion);
        let result = rewriter().rewrite(&message, &signer);
        assert_eq!(result, Err(Untouched::Ordinary), "{}", onion.name);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn recorded_onions_stay_as_they_are_at_the_hops_before_the_last() {
    for onion in onions() {
        for hop in onion.hops.split_last().unwrap().1 {
            let message = message(hop.packet.clone(), onion.payment_hash, AMOUNT);
            let result = rewriter().rewrite(&message, &TestNodeSigner::new(hop.private_key));
            assert_eq!(result, Err(Untouched::Ordinary), "{}", onion.name);
        }
    }
}

#[test]
fn only_the_onion_of_a_message_changes_and_always_in_the_same_way() {
    let message = made(&shard());
    let rewritten = rewrite(&message).unwrap();
    assert_eq!(
        rewrite(&message).unwrap(),
        rewritten,
        "sent again after a reconnect"
    );
    let onion_routing_packet = message.onion_routing_packet.clone();
    assert_eq!(
        UpdateAddHTLC {
            onion_routing_packet,
            ..rewritten
        },
        message
    );
}

#[test]
fn a_shard_without_an_mpp_record_reaches_the_registry() {
    let message = made(&without(8));
    let rewritten = rewrite(&message).unwrap();
    let records = opened(&rewritten, &signer(NODE_SECRET));
    assert_eq!(envelope_in(&message, &records).unwrap().mpp, None);
    assert!(peel(&rewritten, &signer(NODE_SECRET)).is_ok());
}

#[test]
fn records_that_do_not_decode_are_named() {
    let cases = [(14, 63), (14, 69), (14, 0), (8, 31), (8, 41), (8, 33)];
    for (kind, length) in cases {
        let message = made(&with([(kind, vec![0; length])]));
        assert_eq!(fault(&message), Fault::Payload(kind), "{length} bytes");
    }
}

#[test]
fn even_records_that_amp_does_not_know_are_named() {
    for kind in [6, 10, 18, 20, 22, 65_534] {
        let message = made(&with([(kind, vec![1; 8])]));
        assert_eq!(fault(&message), Fault::Payload(kind));
    }
}

#[test]
fn a_payload_without_usable_amount_or_expiry_is_refused() {
    let amounts = [without(2), with([(2, vec![0])]), with([(2, vec![1; 9])])];
    for records in amounts {
        assert_eq!(fault(&made(&records)), Fault::Payload(2));
    }
    for records in [without(4), with([(4, vec![0, 1])]), with([(4, vec![1; 5])])] {
        assert_eq!(fault(&made(&records)), Fault::Payload(4));
    }
}

/// Only LDK can read it, and so only LDK can say that it is no good.
#[test]
fn the_first_hop_of_a_blinded_path_is_judged_by_ldk() {
    let key = onions()[0].hops[0].packet.public_key.unwrap();
    let message = made(&Records::from([
        (10, vec![1; 50]),
        (12, key.serialize().to_vec()),
    ]));
    assert_eq!(fault(&message), Fault::Blinding);
    let message = made(&with([(12, key.serialize().to_vec())]));
    assert_eq!(fault(&message), Fault::Blinding);
}

#[test]
fn a_payload_of_another_hop_is_refused() {
    let next_channel = (6, vec![1; 8]);
    let forward = Records::from([(2, vec![1]), (4, vec![1]), next_channel.clone()]);
    assert_eq!(fault(&made(&forward)), Fault::Payload(6));
}

/// An HTLC to the node of [`NODE_SECRET`] that it is to forward.
fn forward(records: &Records) -> UpdateAddHTLC {
    let ephemeral_key = onions()[0].hops[0].packet.public_key.unwrap();
    let secret = HopSecret::shared(&signer(NODE_SECRET), &ephemeral_key).unwrap();
    let records: Vec<_> = records
        .iter()
        .map(|(kind, value)| Record { kind: *kind, value })
        .collect();
    let (mut stream, mut plain) = (Vec::new(), Vec::new());
    tlv::write(&records, &mut stream);
    tlv::write_big_size(stream.len() as u64, &mut plain);
    let next_hmac = [1; 32];
    plain.extend([stream, next_hmac.to_vec()].concat());
    let packet = packet::seal_bytes(&secret, ephemeral_key, &HASH, &plain);
    message(packet, HASH, AMOUNT)
}

#[test]
fn a_hop_that_forwards_is_told_what_is_wrong_with_its_payload() {
    let usable = Records::from([
        (2, vec![0x9c]),
        (4, vec![0x0c, 0xf6, 0x50]),
        (6, vec![1; 8]),
    ]);
    let signer = signer(NODE_SECRET);
    let untouched = rewriter().rewrite(&forward(&usable), &signer);
    assert_eq!(untouched, Err(Untouched::Ordinary));
    let unusable = [
        (2, None),
        (4, None),
        (6, None),
        (6, Some(vec![1; 7])),
        (8, Some(mpp().encode())),
        (10, Some(vec![1])),
        (14, Some(amp().encode().to_vec())),
        (16, Some(vec![1])),
        (20, Some(vec![1])),
        (INVOICE_REQUEST, Some(vec![1])),
        (KEYSEND, Some(vec![1])),
    ];
    for (kind, value) in unusable {
        let mut records = usable.clone();
        match value {
            Some(value) => records.insert(kind, value),
            None => records.remove(&kind),
        };
        let message = forward(&records);
        let ldk = ldk_reason(&message, &signer);
        assert_eq!(ldk, Some(LocalHTLCFailureReason::InvalidOnionPayload));
        assert_eq!(fault(&message), Fault::Payload(kind));
    }
}

#[test]
fn an_ordinary_payload_without_secret_and_preimage_is_refused() {
    let ordinary = Records::from([(2, vec![1]), (4, vec![1])]);
    assert!(matches!(fault(&made(&ordinary)), Fault::Details(_)));
    let mut short = ordinary;
    short.insert(KEYSEND, vec![1]);
    assert!(matches!(fault(&made(&short)), Fault::Details(_)));
}

#[test]
fn a_shard_that_asks_for_nothing_asks_ldk_for_one_msat() {
    let mut message = made(&with([(2, vec![])]));
    let rewritten = rewrite(&message).unwrap();
    let peeled = peel(&rewritten, &signer(NODE_SECRET)).unwrap();
    assert_eq!(peeled.payment_data.total_msat, 1);
    message.amount_msat = 0;
    let rewritten = rewriter().rewrite(&message, &signer(NODE_SECRET));
    let refusal = rewritten.unwrap().refusal.unwrap();
    assert_eq!(refusal.fault, Fault::Payload(2));
}

#[test]
fn less_than_the_onion_asks_for_is_still_refused_by_ldk() {
    let mut message = made(&shard());
    message.amount_msat = AMOUNT - 1;
    let rewritten = rewrite(&message).unwrap();
    let refused = peel(&rewritten, &signer(NODE_SECRET)).err();
    assert_eq!(
        refused,
        Some(LocalHTLCFailureReason::FinalIncorrectHTLCAmount)
    );
}

#[test]
fn a_blinding_point_excludes_amp() {
    let mut message = made(&shard());
    message.blinding_point = message.onion_routing_packet.public_key.ok();
    assert_eq!(rewrite(&message), Err(Untouched::Blinded));
}

#[test]
fn a_payload_that_leaves_no_room_for_the_envelope_is_refused() {
    let message = made(&with([(70_001, vec![1; 1100])]));
    assert!(matches!(fault(&message), Fault::Details(_)));
}

#[test]
fn a_shard_may_carry_850_bytes_of_custom_records() {
    let message = made(&with([(70_001, vec![1; 850])]));
    let rewritten = rewrite(&message).unwrap();
    assert!(peel(&rewritten, &signer(NODE_SECRET)).is_ok());
}

#[test]
fn a_foreign_envelope_and_an_invoice_request_in_an_ordinary_payment_are_dropped() {
    let ordinary = BTreeMap::from([
        (2, vec![1]),
        (4, vec![1]),
        (8, mpp().encode()),
        (65_537, vec![9]),
    ]);
    let mut forged = ordinary.clone();
    forged.insert(ENVELOPE_TYPE, vec![1; 200]);
    forged.insert(INVOICE_REQUEST, vec![1; 20]);
    let rewritten = rewrite(&made(&forged)).unwrap();
    assert_eq!(opened(&rewritten, &signer(NODE_SECRET)), ordinary);
}

#[test]
fn a_foreign_envelope_beside_an_amp_record_gives_way_to_ours() {
    let message = made(&with([(ENVELOPE_TYPE, vec![1; 200])]));
    let records = opened(&rewrite(&message).unwrap(), &signer(NODE_SECRET));
    assert_eq!(envelope_in(&message, &records).unwrap().amp, amp());
}

proptest! {
    #[test]
    fn every_other_record_stays_as_it_was(
        odd in prop::collection::btree_map(
            (20..32_000u64).prop_map(|kind| 2 * kind + 1),
            prop::collection::vec(any::<u8>(), 0..50), 0..4),
        custom in prop::collection::btree_map(
            any::<u64>().prop_filter("custom", |kind| {
                *kind >= 65_536 && *kind != ENVELOPE_TYPE && !READ_BY_LDK.contains(kind)
            }),
            prop::collection::vec(any::<u8>(), 0..100), 0..4),
        metadata in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
    ) {
        let others = odd.into_iter().chain(custom).chain(metadata.map(|value| (16, value)));
        let message = made(&with(others));
        let rewritten = rewrite(&message).unwrap();
        let mut before = opened(&message, &signer(NODE_SECRET));
        let mut after = opened(&rewritten, &signer(NODE_SECRET));
        prop_assert_eq!(envelope_in(&message, &after).unwrap().mpp, Some(mpp()));
        prop_assert!(after.remove(&ENVELOPE_TYPE).is_some());
        prop_assert_ne!(before.remove(&8), after.remove(&8));
        prop_assert!(before.remove(&14).is_some());
        prop_assert_eq!(after, before);
    }

    /// What we take LDK takes; and what LDK would not read, we refuse.
    #[test]
    fn any_payload_is_judged_as_ldk_judges_it(
        payload in prop::collection::btree_map(
            prop_oneof![0..24u64, any::<u64>(), Just(ENVELOPE_TYPE), Just(77_777), Just(KEYSEND)],
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..4),
                prop::collection::vec(any::<u8>(), 30..80),
            ], 0..6),
        usable in any::<bool>(),
        amp in prop::option::of(prop::collection::vec(any::<u8>(), 60..72)),
    ) {
        let mut payload = payload;
        payload.remove(&12);
        payload.extend(amp.map(|value| (14, value)));
        if usable {
            payload.extend([(2, vec![1]), (4, vec![1])]);
        }
        let message = made(&payload);
        let signer = signer(NODE_SECRET);
        let (seen, refused) = match rewriter().rewrite(&message, &signer) {
            Ok(rewritten) => (rewritten.message, rewritten.refusal.is_some()),
            Err(reason) => {
                prop_assert_eq!(reason, Untouched::Ordinary);
                (message.clone(), false)
            }
        };
        let after = opened(&seen, &signer);
        let is_amp = envelope_in(&message, &after).is_some();
        prop_assert_eq!(is_amp, payload.contains_key(&14) && !refused);
        // LDK takes it, or says what its sender can read.
        let ldk = ldk_reason(&seen, &signer);
        let readable = [
            None,
            Some(LocalHTLCFailureReason::InvalidKeysendPreimage),
            Some(LocalHTLCFailureReason::FinalIncorrectHTLCAmount),
            Some(LocalHTLCFailureReason::FinalIncorrectCLTVExpiry),
        ];
        prop_assert!(readable.contains(&ldk), "{:?}", ldk);
        if refused && !payload.contains_key(&14) {
            prop_assert!(ldk_reason(&message, &signer).is_some());
        }
    }

    #[test]
    fn any_stream_of_bytes_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..1268)) {
        let ephemeral_key = onions()[0].hops[0].packet.public_key.unwrap();
        let signer = signer(NODE_SECRET);
        let secret = HopSecret::shared(&signer, &ephemeral_key).unwrap();
        let packet = packet::seal_bytes(&secret, ephemeral_key, &HASH, &bytes);
        let message = message(packet, HASH, AMOUNT);
        let ldk = ldk_reason(&message, &signer);
        let unreadable = [
            Some(LocalHTLCFailureReason::InvalidOnionPayload),
            Some(LocalHTLCFailureReason::PaymentSecretRequired),
        ];
        let rewritten = rewriter().rewrite(&message, &signer);
        if unreadable.contains(&ldk) {
            prop_assert!(rewritten.unwrap().refusal.is_some());
        } else {
            prop_assert!(rewritten.is_err() || rewritten.unwrap().refusal.is_none());
        }
    }
}
