//! LDK's channel signers, with scripts of the wallet, so that closed channels pay to the wallet directly.
//!
//! LDK's `KeysManager` pays closes and claims to two fixed keys outside the wallet. The coins would reach
//! the wallet only after a sweep, six blocks and a second fee; until then, restoring the wallet from the
//! seed words would not find them.

use std::sync::Arc;

use bitcoin::ScriptBuf;
use lightning::ln::script::ShutdownScript;
use lightning::sign::SignerProvider;

use super::Wallet;
use crate::ldk::{ChannelSigner, KeysManager};

/// The signer provider of the channel manager.
pub struct ChannelSigners {
    /// LDK's channel keys.
    pub keys: Arc<KeysManager>,
    /// The wallet that provides the scripts.
    pub wallet: Arc<Wallet>,
}

impl SignerProvider for ChannelSigners {
    type EcdsaSigner = ChannelSigner;

    fn generate_channel_keys_id(&self, inbound: bool, user_channel_id: u128) -> [u8; 32] {
        self.keys.generate_channel_keys_id(inbound, user_channel_id)
    }

    fn derive_channel_signer(&self, channel_keys_id: [u8; 32]) -> ChannelSigner {
        self.keys.derive_channel_signer(channel_keys_id).into()
    }

    /// The script for claims after a force close. LDK requests one for every new channel, so this returns an
    /// unused address instead of a new one: peers whose channels are never funded must not exhaust the gap
    /// limit of wallet recovery.
    fn get_destination_script(&self, _: [u8; 32]) -> Result<ScriptBuf, ()> {
        self.wallet.unused_change_script().map_err(failed)
    }

    /// The script for a cooperative close, which LDK requests when the close begins.
    fn get_shutdown_scriptpubkey(&self) -> Result<ShutdownScript, ()> {
        let script = self.wallet.change_script().map_err(failed)?;
        ShutdownScript::try_from(script).map_err(|error| {
            tracing::error!(?error, "the wallet's script is not a valid shutdown script");
        })
    }
}

/// Logs the error, because LDK's interface has no room for it.
fn failed(error: super::WalletError) {
    tracing::error!(%error, "cannot get a wallet script for a channel");
}
