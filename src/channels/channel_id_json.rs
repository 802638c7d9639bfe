//! Channel ids in stored JSON: 64 hex digits.

use bitcoin::hex::{DisplayHex, FromHex};
use lightning::ln::types::ChannelId;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(id: &ChannelId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.0.to_lower_hex_string())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ChannelId, D::Error> {
    let text = String::deserialize(from)?;
    <[u8; 32]>::from_hex(&text)
        .map(ChannelId)
        .map_err(D::Error::custom)
}

pub(super) fn serialize_optional<S: Serializer>(
    id: &Option<ChannelId>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.serialize_some(&id.0.to_lower_hex_string()),
        None => serializer.serialize_none(),
    }
}
