//! DeriveKey: the node's identity key, by lnd's key locator.

use bitcoin::secp256k1::PublicKey;
use tonic::Status;

use crate::rpc::convert::errors::unsupported;
use lnd_api::proto::signrpc::{KeyDescriptor, KeyLocator};

/// lnd's locator of the node's identity key, the only key of its family.
const NODE_KEY: KeyLocator = KeyLocator {
    key_family: 6,
    key_index: 0,
};

/// Returns the node's identity key, the only key of lnd's key tree that ampd has. Other keys would be unused.
pub(super) fn derive(node_id: PublicKey, locator: &KeyLocator) -> Result<KeyDescriptor, Status> {
    if *locator != NODE_KEY {
        let (family, index) = (locator.key_family, locator.key_index);
        return Err(unsupported(format!(
            "key {index} of family {family} is not supported: ampd does not use lnd's key \
             derivation; only the node's identity key (family 6, index 0) is available"
        )));
    }
    Ok(KeyDescriptor {
        raw_key_bytes: node_id.serialize().to_vec(),
        key_loc: Some(NODE_KEY),
    })
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::rpc::convert::parse::public_key;

    #[test]
    fn derives_only_the_identity_key() {
        let mut bytes = [2; 33];
        bytes[1..].fill(1);
        let node_id = public_key(&bytes).unwrap();
        let found = derive(node_id, &NODE_KEY).unwrap();
        assert_eq!(found.raw_key_bytes, bytes);
        assert_eq!(found.key_loc, Some(NODE_KEY));
        for (key_family, key_index) in [(6, 1), (0, 0), (-1, 0)] {
            let locator = KeyLocator {
                key_family,
                key_index,
            };
            let error = derive(node_id, &locator).unwrap_err();
            assert_eq!(error.code(), Code::Unimplemented);
        }
    }
}
