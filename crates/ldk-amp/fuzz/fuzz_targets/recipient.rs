//! Sending: LDK puts all records into the onion, and the node that gets it finds them again.
//!
//! The input is an AMP record (68 bytes), a payment address and total (40 bytes), the length of the metadata
//! and the metadata, and custom records.
#![no_main]

use std::sync::LazyLock;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use ldk_amp::{
    AMP_RECORD_TYPE, AmpRecord, HopSecret, MPP_RECORD_TYPE, MppRecord, PaymentAddr, RecipientError,
    SetId, Share, open, recipient_fields,
};
use ldk_amp_fuzz::{HASH, Input, Records, node, owned};
use libfuzzer_sys::fuzz_target;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::ln::create_payment_onion;
use lightning::ln::msgs::OnionPacket;
use lightning::routing::router::{Path, RouteHop};
use lightning::sign::{NodeSigner, Recipient};
use lightning::types::features::{ChannelFeatures, NodeFeatures};

const AMOUNT: u64 = 2;
const CLTV: u64 = 4;
const METADATA: u64 = 16;
const FIRST_CUSTOM: u64 = 65_536;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let amp = AmpRecord {
        share: Share::from_bytes(input.array()),
        set_id: SetId::from_bytes(input.array()),
        child_index: u32::from_be_bytes(input.array()),
    };
    let mpp = MppRecord {
        payment_addr: PaymentAddr::from_bytes(input.array()),
        total_msat: u64::from_be_bytes(input.array()),
    };
    let [length] = input.array();
    let metadata = input.bytes(length.into());
    let custom = input.records();

    let list: Vec<_> = custom.clone().into_iter().collect();
    let fields = match recipient_fields(&mpp, Some(&amp), Some(metadata), &list) {
        Ok(fields) => fields,
        Err(RecipientError::ReservedType(kind)) => {
            assert_eq!(custom.keys().next(), Some(&kind));
            assert!(kind < FIRST_CUSTOM);
            return;
        }
        // BTreeMap has no duplicates; LDK's limit is beyond any onion.
        Err(error) => {
            assert_eq!(error, RecipientError::TooLarge);
            return;
        }
    };
    let Some(packet) = onion(&fields) else {
        return;
    };
    let mut received = received(&packet);
    assert!(received.remove(&AMOUNT).is_some() && received.remove(&CLTV).is_some());
    let mut sent = custom;
    sent.insert(MPP_RECORD_TYPE, mpp.encode());
    sent.insert(AMP_RECORD_TYPE, amp.encode().to_vec());
    sent.insert(METADATA, metadata.to_vec());
    assert_eq!(received, sent);
});

/// LDK's onion for one hop; none if the records do not fit.
fn onion(fields: &RecipientOnionFields) -> Option<OnionPacket> {
    static SESSION_KEY: LazyLock<SecretKey> =
        LazyLock::new(|| SecretKey::from_slice(&[0x32; 32]).expect("a valid key"));
    static HOP: LazyLock<PublicKey> =
        LazyLock::new(|| node().get_node_id(Recipient::Node).expect("a valid key"));
    let hop = RouteHop {
        pubkey: *HOP,
        node_features: NodeFeatures::empty(),
        short_channel_id: 1,
        channel_features: ChannelFeatures::empty(),
        fee_msat: 40_000,
        cltv_expiry_delta: 80,
        maybe_announced_channel: true,
    };
    let path = Path {
        hops: vec![hop],
        blinded_tail: None,
    };
    let onion = create_payment_onion(
        &Secp256k1::signing_only(),
        &path,
        &SESSION_KEY,
        40_000,
        fields,
        800_000,
        &HASH,
        &None,
        None,
        [5; 32],
    );
    onion.ok().map(|(packet, ..)| packet)
}

fn received(packet: &OnionPacket) -> Records {
    let ephemeral_key = packet.public_key.expect("LDK's key is valid");
    let secret = HopSecret::shared(node(), &ephemeral_key).expect("the signer has the key");
    let payload = open(&secret, packet, &HASH).expect("the onion is for this node");
    owned(&payload).expect("LDK writes a canonical stream")
}
