//! SignMessage and VerifyMessage.

use bitcoin::hex::DisplayHex;
use tonic::Status;

use crate::message_signing::recover;
use crate::routing::graph_view::node_id;
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use lnd_api::proto::lnrpc::{
    SignMessageRequest, SignMessageResponse, VerifyMessageRequest, VerifyMessageResponse,
};

/// Signs a message with the node key.
pub(super) fn sign(
    context: &Context,
    request: &SignMessageRequest,
) -> Result<SignMessageResponse, Status> {
    if request.msg.is_empty() {
        return Err(refused("need a message to sign"));
    }
    let signature = if request.single_hash {
        context.signer.sign_once_hashed(&request.msg)
    } else {
        let signed = context.signer.sign(&request.msg);
        signed.map_err(|error| Status::internal(error.to_string()))?
    };
    Ok(SignMessageResponse { signature })
}

/// Returns the signer. As in lnd, the signature is valid only if the signer is in the graph.
pub(super) fn verify(
    context: &Context,
    request: &VerifyMessageRequest,
) -> Result<VerifyMessageResponse, Status> {
    if request.msg.is_empty() {
        return Err(refused("need a message to verify"));
    }
    let signer = recover(&request.msg, &request.signature)
        .map_err(|error| refused(format!("failed to decode signature: {error}")))?;
    let Some(key) = signer else {
        return Ok(VerifyMessageResponse::default());
    };
    Ok(VerifyMessageResponse {
        valid: context.graph.view().has_node(&node_id(&key)),
        pubkey: key.serialize().to_lower_hex_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::test_recordings::{recorded, text};

    #[test]
    fn recovers_key_from_lnds_signature() {
        let signature = text(&recorded("signmessage.json")["signature"]);
        let key = recover(b"hello", &signature).unwrap().unwrap();
        let expected = text(&recorded("verifymessage.json")["pubkey"]);
        assert_eq!(key.to_string(), expected);
    }
}
