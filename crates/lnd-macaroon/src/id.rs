//! The identifier of lnd's macaroons: a version byte (3, the latest of go-macaroon-bakery) and a protobuf
//! message with a nonce, the root key id and the permitted operations.

use bitcoin::hex::DisplayHex;
use prost::Message;

use super::Operations;

const VERSION: u8 = 3;
const NONCE_BYTES: usize = 16;

/// The identifier of a macaroon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    /// Random bytes that make each macaroon unique.
    pub nonce: [u8; NONCE_BYTES],
    /// The id of the root key that signs the macaroon. lnd's macaroon files use 0.
    pub root_key_id: u64,
    /// The operations that the macaroon permits.
    pub operations: Operations,
}

/// The identifier is not in lnd's format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// There is no identifier.
    #[error("the macaroon's identifier is empty")]
    Empty,
    /// A version other than 3.
    #[error("the macaroon's identifier has version {0}; only version {VERSION} is supported")]
    Version(u8),
    /// Not a valid protobuf message.
    #[error("cannot decode the macaroon's identifier: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A nonce of the wrong length, in bytes.
    #[error("the macaroon's nonce has {0} bytes instead of {NONCE_BYTES}")]
    Nonce(usize),
    /// A root key ID that is not a number.
    #[error("the macaroon's root key id {0} is not a number")]
    RootKeyId(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct IdMessage {
    #[prost(bytes = "vec", tag = "1")]
    nonce: Vec<u8>,
    /// The root key id in decimal digits.
    #[prost(bytes = "vec", tag = "2")]
    storage_id: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    ops: Vec<OpMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpMessage {
    #[prost(string, tag = "1")]
    entity: String,
    #[prost(string, repeated, tag = "2")]
    actions: Vec<String>,
}

impl Id {
    /// Encodes the identifier as it is stored in a macaroon.
    pub fn encode(&self) -> Vec<u8> {
        let operations = self.operations.by_entity();
        let message = IdMessage {
            nonce: self.nonce.to_vec(),
            storage_id: self.root_key_id.to_string().into_bytes(),
            ops: operations
                .map(|(entity, actions)| OpMessage {
                    entity: entity.to_owned(),
                    actions: actions.map(str::to_owned).collect(),
                })
                .collect(),
        };
        let mut bytes = vec![VERSION];
        bytes.extend(message.encode_to_vec());
        bytes
    }

    /// Decodes the identifier of a macaroon.
    ///
    /// # Errors
    /// [`IdError`] if lnd 0.3 or later would not write these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdError> {
        let (&version, message) = bytes.split_first().ok_or(IdError::Empty)?;
        if version != VERSION {
            return Err(IdError::Version(version));
        }
        let message = IdMessage::decode(message)?;
        let nonce = message.nonce.as_slice().try_into();
        Ok(Self {
            nonce: nonce.map_err(|_| IdError::Nonce(message.nonce.len()))?,
            root_key_id: root_key_id(&message.storage_id)?,
            operations: operations(message.ops),
        })
    }
}

fn root_key_id(digits: &[u8]) -> Result<u64, IdError> {
    let text = std::str::from_utf8(digits).ok();
    // Reject a sign and leading zeros, which would be a second spelling of the same key id.
    let number = text.and_then(|text| text.parse::<u64>().ok());
    let number = number.filter(|number| number.to_string().as_bytes() == digits);
    number.ok_or_else(|| match text {
        Some(text) => IdError::RootKeyId(format!("{text:?}")),
        None => IdError::RootKeyId(format!("0x{}", digits.as_hex())),
    })
}

fn operations(ops: Vec<OpMessage>) -> Operations {
    let pairs = ops.into_iter().flat_map(|op| {
        let actions = op.actions.into_iter();
        actions.map(move |action| (op.entity.clone(), action))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_data;
    use super::*;

    #[test]
    fn lnds_ids_round_trip() {
        for vector in test_data::all() {
            let id = Id::decode(&vector.id).unwrap();
            assert_eq!(id.encode(), vector.id, "{}", vector.name);
            assert_eq!(id.operations, vector.operations, "{}", vector.name);
            assert_eq!(id.root_key_id, 0);
        }
    }

    #[test]
    fn reports_why_bytes_are_not_an_id() {
        let id = Id {
            nonce: [7; 16],
            root_key_id: 21,
            operations: Operations::default(),
        };
        assert_eq!(Id::decode(&id.encode()).unwrap(), id);
        assert_eq!(Id::decode(&[]), Err(IdError::Empty));
        assert_eq!(Id::decode(&[2, 0]), Err(IdError::Version(2)));
        assert_eq!(Id::decode(&[3]), Err(IdError::Nonce(0)));
        for digits in ["", "+1", "01", "1 ", "x", "18446744073709551616"] {
            let message = IdMessage {
                nonce: vec![7; 16],
                storage_id: digits.into(),
                ops: vec![],
            };
            let mut bytes = vec![VERSION];
            bytes.extend(message.encode_to_vec());
            let error = IdError::RootKeyId(format!("{digits:?}"));
            assert_eq!(Id::decode(&bytes), Err(error));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Id::decode(&bytes);
        }
    }
}
