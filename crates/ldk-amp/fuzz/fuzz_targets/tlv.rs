//! Any bytes as the TLV stream of a payload: what is accepted is canonical, so it encodes to the same bytes.
#![no_main]

use ldk_amp::{open, seal};
use ldk_amp_fuzz::{HASH, HMAC_LEN, HOP_DATA_LEN, hop_secret, sender, stream, with_length};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let plain = with_length(bytes);
    if plain.len() + HMAC_LEN > HOP_DATA_LEN {
        return;
    }
    let packet = sender().seal(&plain);
    let payload = open(hop_secret(), &packet, &HASH).expect("the stream fits");
    assert!(payload.is_final());
    let Ok(records) = payload.records() else {
        return;
    };
    assert!(records.is_sorted_by(|a, b| a.kind < b.kind));
    assert_eq!(stream(&records), bytes);
    let again = seal(hop_secret(), sender().ephemeral_key, &HASH, &records);
    assert!(again == Ok(packet), "sealed differently than by the sender");
});
