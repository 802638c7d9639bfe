//! Tests of the failures that the gateway replaces.

use lightning::ln::peer_handler::ErroringMessageHandler;
use lightning::sign::KeysManager;
use lightning::util::ser::LengthReadable;

use super::super::test_data::onions;
use super::*;

const CHANNEL: ChannelId = ChannelId([7; 32]);
const LDKS_REASON: [u8; 4] = [0, 2, 0xaa, 0xbb];

/// A gateway without a channel manager behind it.
type LoneGateway = Gateway<Box<ErroringMessageHandler>, Box<KeysManager>>;

fn gateway() -> LoneGateway {
    let signer = KeysManager::new(&[1; 32], 0, 0, true);
    let key = EnvelopeKey::from_seed(&[1; 32]);
    Gateway::new(
        Box::new(ErroringMessageHandler::new()),
        Box::new(signer),
        key,
    )
}

fn peer(i: usize) -> PublicKey {
    onions()[1].hops[i].packet.public_key.unwrap()
}

fn envelope(htlc_id: u64) -> Envelope {
    Envelope {
        mpp: None,
        amp: onions()[0].amp.clone().unwrap(),
        channel_id: CHANNEL,
        htlc_id,
        cltv_expiry: 0,
        ephemeral_key: peer(0),
        hidden: Vec::new(),
    }
}

/// Returns whether the gateway replaces the reason of LDK's failure.
fn is_replaced(gateway: &LoneGateway) -> bool {
    let wire = [&CHANNEL.0[..], &5u64.to_be_bytes(), &LDKS_REASON].concat();
    let ldks = msgs::UpdateFailHTLC::read_from_fixed_length_buffer(&mut &wire[..]).unwrap();
    let mut failures = [ldks.clone()];
    gateway.replace_reasons(peer(0), &mut failures);
    failures[0] != ldks
}

fn acknowledge(gateway: &LoneGateway, from: usize) {
    let wire = [&CHANNEL.0[..], &[1; 32], &peer(1).serialize()].concat();
    let message = msgs::RevokeAndACK::read_from_fixed_length_buffer(&mut &wire[..]).unwrap();
    gateway.handle_revoke_and_ack(peer(from), &message);
}

#[test]
fn marked_failures_are_replaced_until_acknowledged() {
    let gateway = gateway();
    assert!(!is_replaced(&gateway));
    gateway.mark_mpp_timeout(&envelope(5));
    acknowledge(&gateway, 0);
    assert!(is_replaced(&gateway), "it was not sent yet");
    acknowledge(&gateway, 1);
    assert!(
        is_replaced(&gateway),
        "another peer's acknowledgment does not count"
    );
    acknowledge(&gateway, 0);
    assert!(!is_replaced(&gateway));
}

#[test]
fn failures_of_unmarked_htlcs_and_closed_channels_are_not_replaced() {
    let gateway = gateway();
    gateway.mark_mpp_timeout(&envelope(6));
    assert!(!is_replaced(&gateway));
    gateway.mark_mpp_timeout(&envelope(5));
    gateway.forget_channel(&CHANNEL);
    assert!(!is_replaced(&gateway));
}
