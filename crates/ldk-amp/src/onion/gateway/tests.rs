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

/// Returns the peers that the gateway disconnects after this error.
fn disconnected_by(gateway: &LoneGateway, channel_id: ChannelId, data: &str) -> Vec<PublicKey> {
    let data = data.to_owned();
    gateway.handle_error(peer(1), &msgs::ErrorMessage { channel_id, data });
    let events = gateway.get_and_clear_pending_msg_events();
    let disconnected = events.into_iter().filter_map(|event| match event {
        MessageSendEvent::HandleError {
            node_id,
            action: msgs::ErrorAction::DisconnectPeerWithWarning { .. },
        } => Some(node_id),
        _ => None,
    });
    disconnected.collect()
}

#[test]
fn truncates_long_peer_errors() {
    let error = |data: String| msgs::ErrorMessage {
        channel_id: CHANNEL,
        data,
    };
    let usual = error("x".repeat(MAX_ERROR_BYTES));
    assert_eq!(shortened(&usual), usual);
    let long = shortened(&error("x".repeat(65_000)));
    assert_eq!(long.channel_id, CHANNEL);
    assert!(long.data.starts_with(&usual.data));
    assert!(long.data.len() < MAX_ERROR_BYTES + 50);
}

#[test]
fn lnds_internal_error_disconnects_once_without_closing_the_channel() {
    let gateway = gateway();
    let disconnected = disconnected_by(&gateway, CHANNEL, "internal error");
    assert_eq!(disconnected, [peer(1)]);
    assert!(gateway.get_and_clear_pending_msg_events().is_empty());
}

#[test]
fn other_errors_are_passed_to_ldk() {
    let gateway = gateway();
    for text in ["sync error", "internal error!", ""] {
        assert!(disconnected_by(&gateway, CHANNEL, text).is_empty());
    }
    let all_channels = ChannelId::new_zero();
    assert!(disconnected_by(&gateway, all_channels, "internal error").is_empty());
}

#[test]
fn keysend_is_advertised_only_if_accepted() {
    let announced = |gateway: LoneGateway| gateway.provided_node_features();
    assert!(!announced(gateway()).supports_keysend());
    let features = announced(gateway().announcing_keysend(true));
    assert!(features.supports_keysend() && !features.requires_keysend());
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
