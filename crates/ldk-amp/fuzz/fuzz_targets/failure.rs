//! Failures: the sender can read `mpp_timeout`, and any reason replaces that of any `update_fail_htlc`.
//!
//! The input is the sender's session key, the length of the new reason, the new reason, and an
//! `update_fail_htlc` as on the wire.
#![no_main]

use ldk_amp::{MPP_TIMEOUT, mpp_timeout_packet, with_reason};
use ldk_amp_fuzz::{Input, Sender};
use libfuzzer_sys::fuzz_target;
use lightning::ln::msgs::UpdateFailHTLC;
use lightning::util::ser::{LengthReadable, Writeable};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    sends_a_readable_timeout(input.array());
    let length = u16::from_be_bytes(input.array());
    replaces_the_reason(input.bytes(length.into()), input.0);
});

fn sends_a_readable_timeout(session_key: [u8; 32]) {
    let Some(sender) = Sender::new(session_key) else {
        return;
    };
    let reason = mpp_timeout_packet(&sender.hop_secret());
    let expected = MPP_TIMEOUT.to_be_bytes().to_vec();
    assert_eq!(sender.failure(&reason), Some(expected));
}

fn replaces_the_reason(reason: &[u8], mut wire: &[u8]) {
    let Ok(message) = UpdateFailHTLC::read_from_fixed_length_buffer(&mut wire) else {
        return;
    };
    let replaced = with_reason(&message, reason).expect("the reason is short enough");
    let expected = [
        &message.channel_id.0[..],
        &message.htlc_id.to_be_bytes(),
        &(reason.len() as u16).to_be_bytes(),
        reason,
    ];
    assert_eq!(replaced.encode(), expected.concat());
    assert_eq!(replaced.attribution_data, None);
}
