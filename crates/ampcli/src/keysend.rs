//! Keysend payments as lncli sends them: the sender chooses the preimage and passes it to the receiver in a
//! custom record.

use bitcoin::hashes::{Hash, sha256};

use super::error::{CliError, error};
use lnd_api::proto::routerrpc::SendPaymentRequest;

/// The type of the custom record that contains the preimage.
const PREIMAGE_RECORD: u64 = 5_482_373_484;

/// Turns the request into a keysend payment. A preimage set by `--data` is used, together with its hash;
/// lncli would send the hash of another preimage.
pub(crate) fn set_keysend(request: &mut SendPaymentRequest) -> Result<(), CliError> {
    let preimage = request
        .dest_custom_records
        .entry(PREIMAGE_RECORD)
        .or_default();
    match preimage.len() {
        0 => *preimage = random()?.to_vec(),
        32 => {}
        length => {
            return error(format!(
                "record {PREIMAGE_RECORD} (the preimage) must be exactly 32 bytes, is instead {length}"
            ));
        }
    }
    request.payment_hash = sha256::Hash::hash(preimage).to_byte_array().to_vec();
    Ok(())
}

fn random() -> Result<[u8; 32], CliError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .or_else(|why| error(format!("cannot generate a random preimage: {why}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use bitcoin::hex::FromHex;

    use super::*;

    fn with_preimage(preimage: Vec<u8>) -> SendPaymentRequest {
        SendPaymentRequest {
            dest_custom_records: [(PREIMAGE_RECORD, preimage)].into(),
            ..Default::default()
        }
    }

    #[test]
    fn each_payment_has_a_new_preimage_and_its_hash() {
        let new = || {
            let mut request = SendPaymentRequest::default();
            set_keysend(&mut request).unwrap();
            let preimage = &request.dest_custom_records[&PREIMAGE_RECORD];
            assert_eq!(preimage.len(), 32);
            let hash = sha256::Hash::hash(preimage).to_byte_array();
            assert_eq!(request.payment_hash, hash);
            hash
        };
        assert_ne!(new(), new());
    }

    #[test]
    fn preimage_set_by_data_is_used() {
        // From a payment made by lnd.
        let bytes = |hex: &str| Vec::from_hex(hex).unwrap();
        let preimage = "2df2bb55dcbcee946427cd0793c1b92b6007927a1cc8cc6f8c1b076cc5833c7b";
        let hash = "f9e38debf6bd49f716d7aff37d4b4cf39c478ced73026d29e169a5ecf23ec86a";
        let mut request = with_preimage(bytes(preimage));
        set_keysend(&mut request).unwrap();
        assert_eq!(request.payment_hash, bytes(hash));
        assert!(set_keysend(&mut with_preimage(vec![1; 31])).is_err());
    }
}
