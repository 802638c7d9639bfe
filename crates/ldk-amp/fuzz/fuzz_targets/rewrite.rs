//! The gateway's rewriting of HTLCs with any payload, as LDK's decoder sees the result.
//!
//! The input is the HTLC's amount (8 bytes), how many blocks it expires later than necessary (2 bytes),
//! whether the payload is that of the final hop (1 byte, 0 for yes), and the payload: its length and its
//! records, or anything else.
#![no_main]

use std::sync::LazyLock;

use bitcoin::secp256k1::Secp256k1;
use ldk_amp::{
    AMP_RECORD_TYPE, AmpRecord, ENVELOPE_TYPE, Envelope, EnvelopeKey, Fault, MPP_RECORD_TYPE,
    MppRecord, Refusal, Rewriter, Rewritten, Untouched, open, tu64,
};
use ldk_amp_fuzz::{HASH, HMAC_LEN, HOP_DATA_LEN, Input, Records, hop_secret, node, owned, sender};
use ldk_amp_fuzz::{split_layer, with_length};
use libfuzzer_sys::fuzz_target;
use lightning::ln::LocalHTLCFailureReason;
use lightning::ln::channelmanager::{PendingHTLCInfo, PendingHTLCRouting};
use lightning::ln::msgs::{OnionPacket, UpdateAddHTLC};
use lightning::ln::onion_payment::peel_payment_onion;
use lightning::ln::types::ChannelId;
use lightning::sign::NodeSigner;
use lightning::util::logger::{Logger, Record};

const HEIGHT: u32 = 850_000;
/// Late enough for LDK.
const EXPIRY: u32 = HEIGHT + 200;
/// 21 million bitcoin in msat, more than any channel has.
const MAX_MSAT: u64 = 2_100_000_000_000_000_000;
const AMOUNT: u64 = 2;
const BLINDING_POINT: u64 = 12;
const METADATA: u64 = 16;
const FIRST_CUSTOM: u64 = 65_536;
const INVOICE_REQUEST: u64 = 77_777;

const INVALID_ONION_PAYLOAD: [u8; 2] = [0x40, 22];
const INVALID_ONION_BLINDING: [u8; 2] = [0xc0, 24];

static KEY: LazyLock<EnvelopeKey> = LazyLock::new(|| EnvelopeKey::from_seed(&[1; 32]));
static REWRITER: LazyLock<Rewriter> =
    LazyLock::new(|| Rewriter::new(KEY.clone(), node().get_expanded_key()));

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let amount_msat = u64::from_be_bytes(input.array()) % (MAX_MSAT + 1);
    let later = u32::from(u16::from_be_bytes(input.array()));
    let [position] = input.array();
    let message = UpdateAddHTLC {
        channel_id: ChannelId([7; 32]),
        htlc_id: 8,
        amount_msat,
        payment_hash: HASH,
        cltv_expiry: EXPIRY + later,
        skimmed_fee_msat: None,
        onion_routing_packet: onion(input.0, position == 0),
        blinding_point: None,
        hold_htlc: None,
    };
    let payload = open(hop_secret(), &message.onion_routing_packet, &HASH).ok();
    let sent = Sent {
        is_final: payload.as_ref().is_some_and(|payload| payload.is_final()),
        records: payload.as_ref().and_then(owned),
    };
    match REWRITER.rewrite(&message, node()) {
        Ok(rewritten) => sent.is_rewritten(&message, &rewritten),
        Err(reason) => sent.is_untouched(&message, reason),
    }
});

fn onion(payload: &[u8], is_final: bool) -> OnionPacket {
    let mut plain = [0; HOP_DATA_LEN];
    let length = payload.len().min(HOP_DATA_LEN);
    plain[..length].copy_from_slice(&payload[..length]);
    if !is_final && let Some((stream, _)) = split_layer(&plain) {
        let end = with_length(stream).len();
        plain[end..end + HMAC_LEN].fill(1);
    }
    sender().seal(&plain)
}

/// What the HTLC's sender put into its onion.
struct Sent {
    is_final: bool,
    /// None if the payload is not a TLV stream.
    records: Option<Records>,
}

impl Sent {
    fn is_rewritten(&self, message: &UpdateAddHTLC, rewritten: &Rewritten) {
        let key = message.onion_routing_packet.public_key;
        assert_eq!(rewritten.message.onion_routing_packet.public_key, key);
        let only_the_onion = UpdateAddHTLC {
            onion_routing_packet: message.onion_routing_packet.clone(),
            ..rewritten.message.clone()
        };
        assert!(only_the_onion == *message);

        let seen = peel(&rewritten.message);
        if let Some(refusal) = &rewritten.refusal {
            assert_eq!(
                seen.err(),
                Some(LocalHTLCFailureReason::InvalidKeysendPreimage)
            );
            explains(refusal);
            if self.is_final && !self.has(AMP_RECORD_TYPE) {
                assert!(peel(message).is_err(), "LDK would accept it");
            }
            return;
        }
        assert!(self.is_final);
        let records = self.records.as_ref().expect("it is not refused");
        match records.get(&AMP_RECORD_TYPE) {
            Some(amp) => is_shard(message, &rewritten.message, records, amp),
            None => {
                let mut records = records.clone();
                records.retain(|kind, _| ![ENVELOPE_TYPE, INVOICE_REQUEST].contains(kind));
                assert_eq!(opened(&rewritten.message), Some(records));
            }
        }
        assert!(is_readable(seen.err()), "LDK's failure is not readable");
    }

    fn is_untouched(&self, message: &UpdateAddHTLC, reason: Untouched) {
        assert_eq!(reason, Untouched::Ordinary);
        assert!(!self.is_final || !self.has(AMP_RECORD_TYPE) || self.has(BLINDING_POINT));
        let failure = peel(message).err();
        match self.is_final {
            // Only LDK can decrypt the payload of a blinded path.
            _ if self.has(BLINDING_POINT) => {}
            true => assert!(is_readable(failure), "{failure:?}"),
            false => assert_ne!(failure, Some(LocalHTLCFailureReason::InvalidOnionPayload)),
        }
    }

    fn has(&self, kind: u64) -> bool {
        let records = self.records.as_ref();
        records.is_some_and(|records| records.contains_key(&kind))
    }
}

/// LDK sees a complete payment, and the envelope has what the sender sent.
fn is_shard(message: &UpdateAddHTLC, rewritten: &UpdateAddHTLC, sent: &Records, amp: &[u8]) {
    let seen = opened(rewritten).expect("the payload was sealed by us");
    assert!(!seen.contains_key(&AMP_RECORD_TYPE));
    let tlvs: Vec<_> = seen.clone().into_iter().collect();
    let envelope = Envelope::open(&KEY, &HASH, &tlvs).expect("the envelope is ours");
    assert_eq!(Ok(&envelope.amp), AmpRecord::decode(amp).as_ref());
    let mpp = sent.get(&MPP_RECORD_TYPE);
    assert_eq!(
        envelope.mpp,
        mpp.and_then(|mpp| MppRecord::decode(mpp).ok())
    );
    assert_eq!(envelope.channel_id, message.channel_id);
    assert_eq!(envelope.htlc_id, message.htlc_id);
    assert_eq!(envelope.cltv_expiry, message.cltv_expiry);

    let Ok(info) = peel(rewritten) else { return };
    let PendingHTLCRouting::Receive {
        payment_data,
        payment_metadata,
        custom_tlvs,
        ..
    } = info.routing
    else {
        panic!("not a payment to this node");
    };
    let requested = tu64::decode_u64(&sent[&AMOUNT]).expect("it is not refused");
    assert_eq!(info.payment_hash, message.payment_hash);
    assert_eq!(info.incoming_amt_msat, Some(message.amount_msat));
    assert_eq!(info.outgoing_amt_msat, requested.max(1));
    assert_eq!(payment_data.total_msat, info.outgoing_amt_msat);
    assert_eq!(payment_metadata.as_ref(), sent.get(&METADATA));
    let mut custom = sent.clone();
    custom.retain(|kind, _| *kind >= FIRST_CUSTOM && *kind != ENVELOPE_TYPE);
    let restored = envelope.custom_records(&custom_tlvs);
    assert_eq!(restored.into_iter().collect::<Records>(), custom);
}

/// The sender can decode the reason.
fn explains(refusal: &Refusal) {
    let reason = refusal.reason.as_ref();
    let failure = reason.map(|reason| sender().failure(reason).expect("an authentic failure"));
    let code = failure.as_ref().and_then(|failure| failure.first_chunk());
    match refusal.fault {
        Fault::Payload(_) => assert_eq!(code, Some(&INVALID_ONION_PAYLOAD)),
        Fault::Blinding => assert_eq!(code, Some(&INVALID_ONION_BLINDING)),
        Fault::Details(_) => assert_eq!(code, None, "LDK's own is right"),
    }
}

/// Returns whether LDK accepts an HTLC, or fails it in a way that its sender can decode.
fn is_readable(failure: Option<LocalHTLCFailureReason>) -> bool {
    matches!(
        failure,
        None | Some(
            LocalHTLCFailureReason::InvalidKeysendPreimage
                | LocalHTLCFailureReason::FinalIncorrectHTLCAmount
                | LocalHTLCFailureReason::FinalIncorrectCLTVExpiry
        )
    )
}

fn opened(message: &UpdateAddHTLC) -> Option<Records> {
    owned(&open(hop_secret(), &message.onion_routing_packet, &HASH).ok()?)
}

fn peel(message: &UpdateAddHTLC) -> Result<PendingHTLCInfo, LocalHTLCFailureReason> {
    let secp = Secp256k1::verification_only();
    let peeled = peel_payment_onion(message, node(), &Silent, &secp, HEIGHT, false);
    peeled.map_err(|error| error.reason)
}

struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record<'_>) {}
}
