//! Messages of peers that are changed or kept from LDK.

use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning::ln::peer_handler::ErroringMessageHandler;

use super::*;

const CHANNEL: ChannelId = ChannelId([7; 32]);

/// A handler without a channel manager behind it.
type LoneHandler = ChannelMessages<Box<ErroringMessageHandler>>;

fn handler() -> LoneHandler {
    ChannelMessages::new(Box::new(ErroringMessageHandler::new()))
}

fn peer() -> PublicKey {
    let secret = SecretKey::from_slice(&[3; 32]).unwrap();
    PublicKey::from_secret_key(&Secp256k1::new(), &secret)
}

/// Returns the peers that the handler disconnects after this error.
fn disconnected_by(handler: &LoneHandler, channel_id: ChannelId, data: &str) -> Vec<PublicKey> {
    let data = data.to_owned();
    handler.handle_error(peer(), &msgs::ErrorMessage { channel_id, data });
    let events = handler.get_and_clear_pending_msg_events();
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
    let handler = handler();
    let disconnected = disconnected_by(&handler, CHANNEL, "internal error");
    assert_eq!(disconnected, [peer()]);
    assert!(handler.get_and_clear_pending_msg_events().is_empty());
}

#[test]
fn other_errors_are_passed_to_ldk() {
    let handler = handler();
    for text in ["sync error", "internal error!", ""] {
        assert!(disconnected_by(&handler, CHANNEL, text).is_empty());
    }
    let all_channels = ChannelId::new_zero();
    assert!(disconnected_by(&handler, all_channels, "internal error").is_empty());
}

#[test]
fn keysend_is_advertised_only_if_accepted() {
    let announced = |handler: LoneHandler| handler.provided_node_features();
    assert!(!announced(handler()).supports_keysend());
    let features = announced(handler().announcing_keysend(true));
    assert!(features.supports_keysend() && !features.requires_keysend());
}
