//! Custom messages (BOLT 1) and peer events.
//!
//! Protocol messages for which LDK has no event are also sent here: LDK sends any message type it
//! is given.
//!
//! LDK also tells the handler of custom messages which peers connect and disconnect, so this module
//! provides both to subscribers.

use std::sync::{Mutex, MutexGuard};

use crate::sync::lock;
use bitcoin::secp256k1::PublicKey;
use lightning::io;
use lightning::ln::msgs::{DecodeError, Init, LightningError};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::ln::wire::{CustomMessageReader, Type};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::{LengthLimitedRead, Writeable, Writer};
use tokio::sync::broadcast;

/// The first custom message type (BOLT 1).
pub const FIRST_TYPE: u16 = 32_768;

/// The maximum length of a message without its type, in bytes (BOLT 8: 65,535 with it).
pub const MAX_BYTES: usize = 65_533;

/// The number of messages that may be queued for a slow subscriber: at most 4 MiB.
const MESSAGE_QUEUE_LEN: usize = 64;

/// The number of peer events that may be queued for a slow subscriber.
const PEER_EVENT_QUEUE_LEN: usize = 1_024;

/// A custom message, or a protocol message that LDK does not send itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomMessage {
    kind: u16,
    data: Vec<u8>,
}

impl CustomMessage {
    /// # Errors
    ///
    /// [`CustomError`] if the type or the length is invalid.
    pub fn new(kind: u16, data: Vec<u8>) -> Result<Self, CustomError> {
        if kind < FIRST_TYPE {
            return Err(CustomError::Type(kind));
        }
        if data.len() > MAX_BYTES {
            return Err(CustomError::TooLong(data.len()));
        }
        Ok(Self { kind, data })
    }

    /// A protocol message, encoded without its type. It must not be longer than [`MAX_BYTES`].
    pub fn of_protocol(kind: u16, data: Vec<u8>) -> Self {
        debug_assert!(data.len() <= MAX_BYTES, "message too long");
        Self { kind, data }
    }

    /// Returns the message's type; for received messages, at least [`FIRST_TYPE`].
    pub fn kind(&self) -> u16 {
        self.kind
    }

    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// The reason why a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomError {
    #[error("msg type: {0} not in custom range: {FIRST_TYPE} and not overridden")]
    Type(u16),
    #[error("message of {0} bytes is too long: the maximum is {MAX_BYTES}")]
    TooLong(usize),
}

impl Type for CustomMessage {
    fn type_id(&self) -> u16 {
        self.kind
    }
}

impl Writeable for CustomMessage {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        writer.write_all(&self.data)
    }
}

/// A peer connected or disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerEvent {
    pub peer: PublicKey,
    pub online: bool,
}

/// LDK's handler of custom messages.
pub struct CustomMessages {
    outgoing: Mutex<Vec<(PublicKey, CustomMessage)>>,
    incoming: broadcast::Sender<(PublicKey, CustomMessage)>,
    peers: broadcast::Sender<PeerEvent>,
}

impl Default for CustomMessages {
    fn default() -> Self {
        Self {
            outgoing: Mutex::default(),
            incoming: broadcast::Sender::new(MESSAGE_QUEUE_LEN),
            peers: broadcast::Sender::new(PEER_EVENT_QUEUE_LEN),
        }
    }
}

impl CustomMessages {
    /// Queues a message. LDK sends it when it next processes its events, if the peer is connected
    /// then.
    pub fn send(&self, peer: PublicKey, message: CustomMessage) {
        self.outgoing().push((peer, message));
    }

    /// Subscribes to all messages from now on.
    pub fn listen(&self) -> broadcast::Receiver<(PublicKey, CustomMessage)> {
        self.incoming.subscribe()
    }

    /// Subscribes to peer events from now on.
    pub fn listen_to_peers(&self) -> broadcast::Receiver<PeerEvent> {
        self.peers.subscribe()
    }

    /// Sends the event to all subscribers, if there are any.
    fn tell(&self, peer: PublicKey, online: bool) {
        let _ = self.peers.send(PeerEvent { peer, online });
    }

    fn outgoing(&self) -> MutexGuard<'_, Vec<(PublicKey, CustomMessage)>> {
        lock(&self.outgoing)
    }
}

impl CustomMessageReader for CustomMessages {
    type CustomMessage = CustomMessage;

    /// Below [`FIRST_TYPE`] the rules of BOLT 1 apply: LDK disconnects the peer on an unknown even
    /// type.
    fn read<R: LengthLimitedRead>(
        &self,
        message_type: u16,
        buffer: &mut R,
    ) -> Result<Option<CustomMessage>, DecodeError> {
        if message_type < FIRST_TYPE {
            return Ok(None);
        }
        // LDK has read the whole message, at most 65,535 bytes.
        let length = usize::try_from(buffer.remaining_bytes());
        let mut data = vec![0; length.map_err(|_| DecodeError::BadLengthDescriptor)?];
        buffer.read_exact(&mut data)?;
        let kind = message_type;
        Ok(Some(CustomMessage { kind, data }))
    }
}

impl CustomMessageHandler for CustomMessages {
    fn handle_custom_message(
        &self,
        message: CustomMessage,
        sender: PublicKey,
    ) -> Result<(), LightningError> {
        // Fails only if there are no subscribers.
        let _ = self.incoming.send((sender, message));
        Ok(())
    }

    fn get_and_clear_pending_msg(&self) -> Vec<(PublicKey, CustomMessage)> {
        std::mem::take(&mut *self.outgoing())
    }

    fn peer_connected(&self, peer: PublicKey, _: &Init, _: bool) -> Result<(), ()> {
        self.tell(peer, true);
        Ok(())
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.tell(peer, false);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_protocol_types() {
        assert_eq!(
            CustomMessage::new(FIRST_TYPE - 1, Vec::new()),
            Err(CustomError::Type(32_767))
        );
        assert!(CustomMessage::new(FIRST_TYPE, vec![0; MAX_BYTES]).is_ok());
        assert_eq!(
            CustomMessage::new(u16::MAX, vec![0; MAX_BYTES + 1]),
            Err(CustomError::TooLong(MAX_BYTES + 1))
        );
    }

    #[test]
    fn messages_survive_a_round_trip() {
        let handler = CustomMessages::default();
        for data in [vec![], vec![1, 2, 3], vec![7; MAX_BYTES]] {
            let message = CustomMessage::new(40_001, data).unwrap();
            let bytes = message.encode();
            let read = handler.read(40_001, &mut &bytes[..]).unwrap();
            assert_eq!(read, Some(message));
        }
        assert_eq!(handler.read(32_767, &mut &[1u8][..]).unwrap(), None);
    }
}
