//! Envelopes: without a valid tag nothing opens, whatever opens seals to the same bytes, and what was sealed
//! comes back.
//!
//! The input is the body of an envelope. Its hidden records and those around it come from the same bytes.
#![no_main]

use std::sync::LazyLock;

use ldk_amp::{
    AmpRecord, ENVELOPE_TYPE, Envelope, EnvelopeKey, MppRecord, PaymentAddr, SetId, Share,
};
use ldk_amp_fuzz::{HASH, HMAC_LEN, Input, Records, hmac, sender};
use libfuzzer_sys::fuzz_target;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;

const SEED: [u8; 32] = [1; 32];
const OTHER_HASH: PaymentHash = PaymentHash([4; 32]);
/// Derives the key of the tag; a constant of the format.
const LABEL: &[u8] = b"ampd onion envelope v1";

static KEY: LazyLock<EnvelopeKey> = LazyLock::new(|| EnvelopeKey::from_seed(&SEED));

fuzz_target!(|bytes: &[u8]| {
    assert!(opened(bytes, &Records::new()).is_none(), "forged");
    opens_bodies_with_a_tag(bytes);
    returns_what_was_sealed(bytes);
});

/// Opens the envelope with this value among other records.
fn opened(value: &[u8], others: &Records) -> Option<Envelope> {
    Envelope::open(&KEY, &HASH, &among(value, others))
}

fn among(value: &[u8], others: &Records) -> Vec<(u64, Vec<u8>)> {
    let mut records = others.clone();
    records.insert(ENVELOPE_TYPE, value.to_vec());
    records.into_iter().collect()
}

fn opens_bodies_with_a_tag(body: &[u8]) {
    let value = [body, &tag(body)].concat();
    if let Some(envelope) = opened(&value, &Records::new()) {
        assert!(*envelope.seal(&KEY, &HASH) == value);
    }
    assert!(Envelope::open(&KEY, &OTHER_HASH, &among(&value, &Records::new())).is_none());
}

fn tag(body: &[u8]) -> [u8; HMAC_LEN] {
    hmac(&hmac(&SEED, &[LABEL]), &[&HASH.0, body])
}

fn returns_what_was_sealed(bytes: &[u8]) {
    let mut input = Input(bytes);
    let [flags] = input.array();
    let envelope = Envelope {
        mpp: (flags & 1 == 1).then_some(MppRecord {
            payment_addr: PaymentAddr::from_bytes(input.array()),
            total_msat: u64::from_be_bytes(input.array()),
        }),
        amp: AmpRecord {
            share: Share::from_bytes(input.array()),
            set_id: SetId::from_bytes(input.array()),
            child_index: u32::from_be_bytes(input.array()),
        },
        channel_id: ChannelId(input.array()),
        htlc_id: u64::from_be_bytes(input.array()),
        cltv_expiry: u32::from_be_bytes(input.array()),
        ephemeral_key: sender().ephemeral_key,
        hidden: Vec::new(),
    };
    let mut sent = input.records();
    sent.remove(&ENVELOPE_TYPE);
    let (hidden, seen): (Records, Records) = sent
        .clone()
        .into_iter()
        .partition(|(kind, _)| kind & 2 == 0);
    let envelope = Envelope {
        hidden: hidden.into_iter().collect(),
        ..envelope
    };

    let mut value = envelope.seal(&KEY, &HASH).to_vec();
    let (body, its_tag) = value.split_last_chunk().expect("it ends with the tag");
    assert_eq!(*its_tag, tag(body));
    assert!(opened(&value, &seen).as_ref() == Some(&envelope));
    let restored = envelope.custom_records(&among(&value, &seen));
    assert_eq!(restored.into_iter().collect::<Records>(), sent);

    let position = usize::from(u16::from_be_bytes(Input(bytes).array())) % value.len();
    value[position] ^= 1 << (flags & 7);
    assert!(opened(&value, &seen).is_none(), "changed");
}
