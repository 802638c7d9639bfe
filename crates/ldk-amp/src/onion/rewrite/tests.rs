//! Tests the rewriter against onions recorded from lnd and against LDK's own decoder.

mod any_payload;

use std::collections::BTreeMap;

use bitcoin::secp256k1::SecretKey;
use lightning::ln::channelmanager::PendingHTLCRouting;
use lightning::ln::msgs::FinalOnionHopData;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;
use lightning::util::test_utils::{TestLogger, TestNodeSigner};

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

/// Returns the HTLC that the final hop of a recorded onion receives, and that hop's signer.
fn recorded(onion: &VectorOnion) -> (UpdateAddHTLC, TestNodeSigner) {
    let last = onion.hops.last().unwrap();
    let message = message(last.packet.clone(), onion.payment_hash, onion.amount_msat);
    (message, TestNodeSigner::new(last.private_key))
}

/// Returns an HTLC to the node of [`NODE_SECRET`] with these payload records.
fn htlc(records: &Records) -> UpdateAddHTLC {
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

/// Rewrites an HTLC and checks that it is not refused.
fn rewrite(message: &UpdateAddHTLC) -> Result<UpdateAddHTLC, Untouched> {
    let rewritten = rewriter().rewrite(message, &signer(NODE_SECRET))?;
    assert_eq!(rewritten.refusal, None);
    Ok(rewritten.message)
}

/// Returns why this HTLC is refused, and checks that LDK fails the rewritten one with PERM|15.
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

/// The fields that LDK's decoder finds in an HTLC that pays this node.
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
        _ => panic!("expected a regular payment"),
    }
}

#[test]
fn ldk_decodes_recorded_amp_onions_only_after_rewriting() {
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
        assert_eq!(sent[&2], tu64::encode(onion.amount_msat), "{}", onion.name);
        assert_eq!(sent[&4], tu64::encode(onion.cltv.into()), "{}", onion.name);
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
fn recorded_onions_without_an_amp_record_are_unchanged() {
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
fn recorded_onions_are_unchanged_at_intermediate_hops() {
    for onion in onions() {
        for hop in onion.hops.split_last().unwrap().1 {
            let message = message(hop.packet.clone(), onion.payment_hash, AMOUNT);
            let result = rewriter().rewrite(&message, &TestNodeSigner::new(hop.private_key));
            assert_eq!(result, Err(Untouched::Ordinary), "{}", onion.name);
        }
    }
}

#[test]
fn rewriting_is_deterministic_and_changes_only_the_onion() {
    let message = htlc(&shard());
    let rewritten = rewrite(&message).unwrap();
    assert_eq!(
        rewrite(&message).unwrap(),
        rewritten,
        "retransmitted after a reconnect"
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
fn shards_without_an_mpp_record_reach_the_registry() {
    let message = htlc(&without(8));
    let rewritten = rewrite(&message).unwrap();
    let records = opened(&rewritten, &signer(NODE_SECRET));
    assert_eq!(envelope_in(&message, &records).unwrap().mpp, None);
    assert!(peel(&rewritten, &signer(NODE_SECRET)).is_ok());
}

#[test]
fn reports_malformed_mpp_and_amp_records() {
    let cases = [(14, 63), (14, 69), (14, 0), (8, 31), (8, 41), (8, 33)];
    for (kind, length) in cases {
        let message = htlc(&with([(kind, vec![0; length])]));
        assert_eq!(fault(&message), Fault::Payload(kind), "{length} bytes");
    }
}

#[test]
fn reports_unknown_even_records() {
    for kind in [6, 10, 18, 20, 22, 65_534] {
        let message = htlc(&with([(kind, vec![1; 8])]));
        assert_eq!(fault(&message), Fault::Payload(kind));
    }
}

#[test]
fn rejects_missing_or_malformed_amount_and_expiry() {
    let amounts = [without(2), with([(2, vec![0])]), with([(2, vec![1; 9])])];
    for records in amounts {
        assert_eq!(fault(&htlc(&records)), Fault::Payload(2));
    }
    for records in [without(4), with([(4, vec![0, 1])]), with([(4, vec![1; 5])])] {
        assert_eq!(fault(&htlc(&records)), Fault::Payload(4));
    }
}

/// Only LDK can decrypt this payload, so its decoder decides.
#[test]
fn ldk_validates_payloads_of_introduction_nodes() {
    let key = onions()[0].hops[0].packet.public_key.unwrap();
    let message = htlc(&Records::from([
        (10, vec![1; 50]),
        (12, key.serialize().to_vec()),
    ]));
    assert_eq!(fault(&message), Fault::Blinding);
    let message = htlc(&with([(12, key.serialize().to_vec())]));
    assert_eq!(fault(&message), Fault::Blinding);
}

#[test]
fn rejects_forwarding_records_in_a_final_payload() {
    let next_channel = (6, vec![1; 8]);
    let forward = Records::from([(2, vec![1]), (4, vec![1]), next_channel.clone()]);
    assert_eq!(fault(&htlc(&forward)), Fault::Payload(6));
}

/// Returns an HTLC that the node of [`NODE_SECRET`] is to forward.
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
fn reports_the_invalid_record_of_a_forwarding_payload() {
    let valid = Records::from([
        (2, vec![0x9c]),
        (4, vec![0x0c, 0xf6, 0x50]),
        (6, vec![1; 8]),
    ]);
    let signer = signer(NODE_SECRET);
    let untouched = rewriter().rewrite(&forward(&valid), &signer);
    assert_eq!(untouched, Err(Untouched::Ordinary));
    let invalid = [
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
    for (kind, value) in invalid {
        let mut records = valid.clone();
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
fn rejects_payloads_without_payment_secret_and_preimage() {
    let ordinary = Records::from([(2, vec![1]), (4, vec![1])]);
    assert!(matches!(fault(&htlc(&ordinary)), Fault::Details(_)));
    let mut short = ordinary;
    short.insert(KEYSEND, vec![1]);
    assert!(matches!(fault(&htlc(&short)), Fault::Details(_)));
}

#[test]
fn zero_amt_to_forward_becomes_one_msat_for_ldk() {
    let mut message = htlc(&with([(2, vec![])]));
    let rewritten = rewrite(&message).unwrap();
    let peeled = peel(&rewritten, &signer(NODE_SECRET)).unwrap();
    assert_eq!(peeled.payment_data.total_msat, 1);
    message.amount_msat = 0;
    let rewritten = rewriter().rewrite(&message, &signer(NODE_SECRET));
    let refusal = rewritten.unwrap().refusal.unwrap();
    assert_eq!(refusal.fault, Fault::Payload(2));
}

#[test]
fn ldk_still_rejects_htlcs_below_amt_to_forward() {
    let mut message = htlc(&shard());
    message.amount_msat = AMOUNT - 1;
    let rewritten = rewrite(&message).unwrap();
    let refused = peel(&rewritten, &signer(NODE_SECRET)).err();
    assert_eq!(
        refused,
        Some(LocalHTLCFailureReason::FinalIncorrectHTLCAmount)
    );
}

#[test]
fn htlcs_in_blinded_paths_are_not_rewritten() {
    let mut message = htlc(&shard());
    message.blinding_point = message.onion_routing_packet.public_key.ok();
    assert_eq!(rewrite(&message), Err(Untouched::Blinded));
}

#[test]
fn rejects_payloads_that_leave_no_room_for_the_envelope() {
    let message = htlc(&with([(70_001, vec![1; 1100])]));
    assert!(matches!(fault(&message), Fault::Details(_)));
}

#[test]
fn shards_may_carry_850_bytes_of_custom_records() {
    let message = htlc(&with([(70_001, vec![1; 850])]));
    let rewritten = rewrite(&message).unwrap();
    assert!(peel(&rewritten, &signer(NODE_SECRET)).is_ok());
}

#[test]
fn forged_envelopes_and_invoice_requests_are_dropped_from_regular_payments() {
    let ordinary = BTreeMap::from([
        (2, vec![1]),
        (4, vec![1]),
        (8, mpp().encode()),
        (65_537, vec![9]),
    ]);
    let mut forged = ordinary.clone();
    forged.insert(ENVELOPE_TYPE, vec![1; 200]);
    forged.insert(INVOICE_REQUEST, vec![1; 20]);
    let rewritten = rewrite(&htlc(&forged)).unwrap();
    assert_eq!(opened(&rewritten, &signer(NODE_SECRET)), ordinary);
}

#[test]
fn our_envelope_replaces_a_forged_one() {
    let message = htlc(&with([(ENVELOPE_TYPE, vec![1; 200])]));
    let records = opened(&rewrite(&message).unwrap(), &signer(NODE_SECRET));
    assert_eq!(envelope_in(&message, &records).unwrap().amp, amp());
}
