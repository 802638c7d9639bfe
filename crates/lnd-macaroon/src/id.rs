//! The identifier of lnd's macaroons: a version byte (3, go-macaroon-bakery's latest) and a protobuf
//! message with a nonce, the number of the root key and the operations.

use bitcoin::hex::DisplayHex;
use prost::Message;

use super::Operations;

const VERSION: u8 = 3;
const NONCE_BYTES: usize = 16;

/// What a macaroon says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    /// Random: no two macaroons are the same.
    pub nonce: [u8; NONCE_BYTES],
    /// Which root key signs it. 0 is that of the files beside the wallet.
    pub root_key_id: u64,
    pub operations: Operations,
}

/// The identifier of a macaroon is not one of lnd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("the macaroon's identifier is empty")]
    Empty,
    #[error("the macaroon's identifier has version {0}, and only {VERSION} is known")]
    Version(u8),
    #[error("the macaroon's identifier cannot be read: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("the macaroon's nonce has {0} bytes instead of {NONCE_BYTES}")]
    Nonce(usize),
    #[error("the macaroon's root key id {0} is not a number")]
    RootKeyId(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct IdMessage {
    #[prost(bytes = "vec", tag = "1")]
    nonce: Vec<u8>,
    /// The root key's number as decimal digits.
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
    /// The bytes that a macaroon carries.
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

    /// Reads the bytes that a macaroon carries.
    ///
    /// # Errors
    /// [`IdError`], if this is nothing that lnd 0.3 or later would write.
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
    // A sign or leading zeros would be another text for the same key.
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
    fn ids_of_lnd_are_read_and_written_again_byte_for_byte() {
        for vector in test_data::all() {
            let id = Id::decode(&vector.id).unwrap();
            assert_eq!(id.encode(), vector.id, "{}", vector.name);
            assert_eq!(id.operations, vector.operations, "{}", vector.name);
            assert_eq!(id.root_key_id, 0);
        }
    }

    #[test]
    fn what_is_no_id_is_named() {
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
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Id::decode(&bytes);
        }
    }
}
