//! The channel manager as seen by the peer storage.

use std::ops::Deref;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::AChannelManager;

use crate::peers::peer_storage::{PeerChannels, Standing};

/// A channel manager. Generic, so that tests can use it with the managers of LDK's functional test
/// framework.
pub struct ManagerPeers<M: Deref>(pub M);

impl<M> PeerChannels for ManagerPeers<M>
where
    M: Deref + Send + Sync,
    M::Target: AChannelManager,
{
    fn standing(&self, peer: &PublicKey) -> Standing {
        let channels = self.0.get_cm().list_channels_with_counterparty(peer);
        let is_confirmed = |blocks: Option<u32>| blocks.is_some_and(|blocks| blocks > 0);
        if channels.iter().any(|one| is_confirmed(one.confirmations)) {
            Standing::Confirmed
        } else if channels.iter().any(|one| one.funding_txo.is_some()) {
            Standing::Unconfirmed
        } else {
            Standing::NoChannel
        }
    }

    fn height(&self) -> u32 {
        self.0.get_cm().current_best_block().height
    }
}
