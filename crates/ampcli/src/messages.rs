//! Signed messages and custom peer messages: `signmessage`, `verifymessage`, `sendcustom`, `subscribecustom`.

use bitcoin::hex::DisplayHex;
use clap::Args;

use super::connection::Node;
use super::error::CliError;
use super::output::{print, print_text};
use super::values::{Hex, hex};
use lnd_api::proto::lnrpc::{
    SendCustomMessageRequest, SignMessageRequest, SubscribeCustomMessagesRequest,
    VerifyMessageRequest,
};

/// Sign a message with the node's key.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SignMessage {
    /// Message to sign
    #[arg(id = "message", value_name = "MSG", required_unless_present = "msg")]
    message: Option<String>,
    /// Message to sign
    #[arg(long, conflicts_with = "message")]
    msg: Option<String>,
}

impl SignMessage {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let msg = self.msg.or(self.message).unwrap_or_default();
        let request = SignMessageRequest {
            msg: msg.into_bytes(),
            single_hash: false,
        };
        print(node.lightning.sign_message(request).await?.get_ref())
    }
}

/// Verify the signature of a message signed with signmessage. The signer must be in the channel graph.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct VerifyMessage {
    /// MSG SIGNATURE, except those set by flags
    #[arg(value_name = "VALUES", num_args = 0..=2)]
    values: Vec<String>,
    /// Message that was signed
    #[arg(long)]
    msg: Option<String>,
    /// Signature (z-base-32)
    #[arg(long)]
    sig: Option<String>,
}

impl VerifyMessage {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let mut values = self.values.into_iter();
        let missing = |name| CliError::Text(format!("{name} argument missing"));
        let msg = self.msg.or_else(|| values.next());
        let signature = self.sig.or_else(|| values.next());
        let request = VerifyMessageRequest {
            msg: msg.ok_or_else(|| missing("msg"))?.into_bytes(),
            signature: signature.ok_or_else(|| missing("signature"))?,
        };
        print(node.lightning.verify_message(request).await?.get_ref())
    }
}

/// Send a custom message to a peer.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SendCustom {
    /// Public key of the peer
    #[arg(long, value_parser = hex)]
    peer: Hex,
    /// Message type, at least 32768
    #[arg(long, value_name = "TYPE")]
    r#type: u32,
    /// Message payload (hex)
    #[arg(long, value_parser = hex, default_value = "")]
    data: Hex,
}

impl SendCustom {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = SendCustomMessageRequest {
            peer: self.peer.0,
            r#type: self.r#type,
            data: self.data.0,
        };
        print(node.lightning.send_custom_message(request).await?.get_ref())
    }
}

/// Subscribe to custom messages from peers.
#[derive(Debug, Args)]
pub(crate) struct SubscribeCustom {}

impl SubscribeCustom {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = SubscribeCustomMessagesRequest {};
        let messages = node.lightning.subscribe_custom_messages(request).await?;
        let mut messages = messages.into_inner();
        while let Some(message) = messages.message().await? {
            let peer = message.peer.to_lower_hex_string();
            let data = message.data.to_lower_hex_string();
            let kind = message.r#type;
            print_text(&format!(
                "Received from peer {peer}: type={kind}, data={data}\n"
            ))?;
        }
        Ok(())
    }
}
