//! The forms in stored JSON of types that do not define one.

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
