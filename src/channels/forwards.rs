//! What we forwarded and what it earned.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;
use serde::Serialize;

/// A payment that passed through us and was settled downstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forward {
    #[serde(serialize_with = "super::rows::optional_channel_id")]
    pub incoming_channel: Option<ChannelId>,
    #[serde(serialize_with = "super::rows::optional_channel_id")]
    pub outgoing_channel: Option<ChannelId>,
    /// The channels' numbers, as far as they are known.
    pub incoming_scid: Option<u64>,
    pub outgoing_scid: Option<u64>,
    pub incoming_peer: Option<PublicKey>,
    pub outgoing_peer: Option<PublicKey>,
    /// What we passed on, msat. Unknown for very old HTLCs.
    pub amount_out_msat: Option<u64>,
    /// What we kept, msat. Unknown if the incoming HTLC was claimed on chain.
    pub fee_msat: Option<u64>,
    /// The preimage came from a transaction, not from the peer: the outgoing channel is closed.
    pub claimed_on_chain: bool,
}

/// Where forwards are kept. `record` enqueues and returns; it must not wait for the disk.
///
/// LDK tells of a forward again if we stop before it stored that we know: the same forward can be
/// recorded twice across a crash, and LDK gives nothing by which to tell the two apart.
pub trait Forwards: Send + Sync {
    fn record(&self, forward: Forward);
}

/// Handles LDK's event of this name.
pub fn payment_forwarded(store: &Arc<dyn Forwards>, forward: Forward) {
    tracing::debug!(
        amount_msat = forward.amount_out_msat,
        fee_msat = forward.fee_msat,
        "payment forwarded"
    );
    store.record(forward);
}
