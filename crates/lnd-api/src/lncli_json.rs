//! Converts protobuf messages to the JSON that lncli prints.

use prost::{Message, Name};
use prost_reflect::DynamicMessage;

use crate::json::{Bytes, json};
use crate::proto::POOL;

/// Converts a message to JSON with bytes in hex. A type that is not in the .proto files becomes null.
///
/// # Errors
/// If the message cannot be decoded with its descriptor.
pub fn to_json<M: Message + Name>(message: &M) -> Result<serde_json::Value, prost::DecodeError> {
    let Some(descriptor) = POOL.get_message_by_name(&M::full_name()) else {
        return Ok(serde_json::Value::Null);
    };
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message)?;
    Ok(json(&dynamic, Bytes::Hex))
}

#[cfg(test)]
pub(super) mod tests;
