//! The forms in stored JSON of types that do not define one.

use bitcoin::hex::FromHex;
use bitcoin::secp256k1::PublicKey;

/// An optional payment address: an array of 32 numbers, or `null`.
pub(super) mod payment_addr {
    use ldk_amp::PaymentAddr;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::model) fn serialize<S: Serializer>(
        addr: &Option<PaymentAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        addr.map(PaymentAddr::to_bytes).serialize(serializer)
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PaymentAddr>, D::Error> {
        let bytes = Option::<[u8; 32]>::deserialize(deserializer)?;
        Ok(bytes.map(PaymentAddr::from_bytes))
    }
}

/// A node's public key: 66 hex digits. Any other text is read as `None`, so that one damaged key
/// does not make its whole row unreadable.
pub(super) mod node_key {
    use bitcoin::secp256k1::PublicKey;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::model) fn serialize<S: Serializer>(
        key: &Option<PublicKey>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match key {
            Some(key) => serializer.collect_str(key),
            None => serializer.serialize_str(""),
        }
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PublicKey>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(super::parse_key(&text))
    }
}

/// Like [`node_key`], but `None` is written as `null`.
pub(super) mod optional_node_key {
    use bitcoin::secp256k1::PublicKey;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::model) fn serialize<S: Serializer>(
        key: &Option<PublicKey>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        key.map(|key| key.to_string()).serialize(serializer)
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PublicKey>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.and_then(|text| super::parse_key(&text)))
    }
}

fn parse_key(hex: &str) -> Option<PublicKey> {
    PublicKey::from_slice(&Vec::from_hex(hex).ok()?).ok()
}
