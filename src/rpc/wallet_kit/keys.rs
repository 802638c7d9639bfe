//! DeriveKey: the node's identity, by lnd's number for it.

use bitcoin::secp256k1::PublicKey;
use tonic::Status;

use crate::rpc::errors::unsupported;
use lnd_api::proto::signrpc::{KeyDescriptor, KeyLocator};

/// lnd's family of the node's identity; the only key of it is the one at index 0.
const NODE_KEY: KeyLocator = KeyLocator {
    key_family: 6,
    key_index: 0,
};

/// Of lnd's tree of keys ampd has this one; the others would be keys that nothing here uses.
pub(super) fn derive(node_id: PublicKey, locator: &KeyLocator) -> Result<KeyDescriptor, Status> {
    if *locator != NODE_KEY {
        let (family, index) = (locator.key_family, locator.key_index);
        return Err(unsupported(format!(
            "key {index} of family {family} is not supported: ampd's keys are not derived as \
             lnd's are, only the node's identity (family 6, index 0) is known by its number"
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
    use crate::rpc::input::public_key;

    #[test]
    fn only_the_identity_is_known() {
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
