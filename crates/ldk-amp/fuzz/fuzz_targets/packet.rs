//! Onion packets: any bytes as a packet, as the node's layer of a packet, and as records to seal.
#![no_main]

use ldk_amp::{OpenError, open, seal};
use ldk_amp_fuzz::{
    HASH, HMAC_LEN, HOP_DATA_LEN, Input, Records, borrowed, hop_secret, owned, sender, split_layer,
    stream, with_length,
};
use libfuzzer_sys::fuzz_target;
use lightning::ln::msgs::OnionPacket;
use lightning::util::ser::Readable;

const PACKET_LEN: usize = 1 + 33 + HOP_DATA_LEN + HMAC_LEN;

fuzz_target!(|bytes: &[u8]| {
    foreign_packet_does_not_open(&Input(bytes).array());
    opens_any_layer(&Input(bytes).array());
    opens_what_it_sealed(&Input(bytes).records());
    opens_nothing_that_was_changed(bytes);
});

fn foreign_packet_does_not_open(bytes: &[u8; PACKET_LEN]) {
    let packet = OnionPacket::read(&mut &bytes[..]).expect("the length is right");
    let error = open(hop_secret(), &packet, &HASH).err();
    match packet.version {
        0 => assert_eq!(error, Some(OpenError::Hmac)),
        version => assert_eq!(error, Some(OpenError::Version(version))),
    }
}

fn opens_any_layer(plain: &[u8; HOP_DATA_LEN]) {
    let opened = open(hop_secret(), &sender().seal(plain), &HASH);
    match (opened, split_layer(plain)) {
        (Ok(payload), Some((expected, next_hmac))) => {
            assert_eq!(payload.is_final(), *next_hmac == [0; HMAC_LEN]);
            if let Ok(records) = payload.records() {
                assert_eq!(stream(&records), expected);
            }
        }
        (opened, expected) => {
            assert_eq!(opened.err(), Some(OpenError::Length));
            assert_eq!(expected, None);
        }
    }
}

fn opens_what_it_sealed(records: &Records) {
    let records_to_seal = borrowed(records);
    let expected = with_length(&stream(&records_to_seal));
    let sealed = seal(
        hop_secret(),
        sender().ephemeral_key,
        &HASH,
        &records_to_seal,
    );
    let Ok(packet) = sealed else {
        assert!(expected.len() + HMAC_LEN > HOP_DATA_LEN);
        return;
    };
    assert!(packet == sender().seal(&expected));
    let payload = open(hop_secret(), &packet, &HASH).expect("it was sealed");
    assert!(payload.is_final());
    assert_eq!(owned(&payload).as_ref(), Some(records));
}

/// The first three bytes say which byte of a packet to change, and how.
fn opens_nothing_that_was_changed(bytes: &[u8]) {
    let mut input = Input(bytes);
    let position = usize::from(u16::from_be_bytes(input.array()));
    let [change] = input.array();
    let mut packet = sender().seal(&with_length(&[]));
    match position.checked_sub(HOP_DATA_LEN) {
        None => packet.hop_data[position] ^= change,
        Some(position) => packet.hmac[position % HMAC_LEN] ^= change,
    }
    let error = open(hop_secret(), &packet, &HASH).err();
    assert_eq!(error, (change != 0).then_some(OpenError::Hmac));
}
