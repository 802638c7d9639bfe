//! LDK's channel keys, with scripts of the wallet: what leaves a channel arrives in the wallet.
//!
//! LDK's own `KeysManager` pays closings and claims to two fixed keys beside the wallet. A sweep, six
//! blocks and a second fee later the coins would be there; and the words of the seed alone, which
//! restore the wallet, would not find them before.

use std::sync::Arc;

use bitcoin::ScriptBuf;
use lightning::ln::script::ShutdownScript;
use lightning::sign::{InMemorySigner, SignerProvider};

use super::Wallet;
use crate::ldk::KeysManager;

/// What the channel manager signs with.
pub struct ChannelSigners {
    pub keys: Arc<KeysManager>,
    pub wallet: Arc<Wallet>,
}

impl SignerProvider for ChannelSigners {
    type EcdsaSigner = InMemorySigner;

    fn generate_channel_keys_id(&self, inbound: bool, user_channel_id: u128) -> [u8; 32] {
        self.keys.generate_channel_keys_id(inbound, user_channel_id)
    }

    fn derive_channel_signer(&self, channel_keys_id: [u8; 32]) -> InMemorySigner {
        self.keys.derive_channel_signer(channel_keys_id)
    }

    /// For claims after a forced close. LDK asks whenever a channel begins, so this is an address
    /// that has got nothing yet: peers whose channels come to nothing must not make the wallet's
    /// addresses run ahead of what is found when it is restored.
    fn get_destination_script(&self, _: [u8; 32]) -> Result<ScriptBuf, ()> {
        self.wallet.unused_change_script().map_err(failed)
    }

    /// For a cooperative close; LDK asks when one begins.
    fn get_shutdown_scriptpubkey(&self) -> Result<ShutdownScript, ()> {
        let script = self.wallet.change_script().map_err(failed)?;
        ShutdownScript::try_from(script).map_err(|error| {
            tracing::error!(?error, "a script of the wallet cannot close a channel");
        })
    }
}

/// LDK wants no reason, so it goes to the log.
fn failed(error: super::WalletError) {
    tracing::error!(%error, "the wallet has no script for a channel");
}
