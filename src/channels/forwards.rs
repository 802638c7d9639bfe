//! Forwarded payments and the fees they earned.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;
use serde::Serialize;

/// A payment that we forwarded and that was settled downstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forward {
    #[serde(serialize_with = "super::channel_id_json::serialize_optional")]
    pub incoming_channel: Option<ChannelId>,
    #[serde(serialize_with = "super::channel_id_json::serialize_optional")]
    pub outgoing_channel: Option<ChannelId>,
    /// The SCIDs of the channels, where known.
    pub incoming_scid: Option<u64>,
    pub outgoing_scid: Option<u64>,
    pub incoming_peer: Option<PublicKey>,
    pub outgoing_peer: Option<PublicKey>,
    /// The amount sent on, in msat. Unknown for very old HTLCs.
    pub amount_out_msat: Option<u64>,
    /// The fee that we earned, in msat. Unknown if the incoming HTLC was claimed on chain.
    pub fee_msat: Option<u64>,
    /// The preimage came from a transaction rather than the peer: the outgoing channel is closed.
    pub claimed_on_chain: bool,
}

/// Storage for forwards. `record` enqueues a write and must not wait for the disk.
///
/// LDK repeats the event of a forward if the node stops before LDK has stored that it was handled.
/// A forward can therefore be recorded twice across a crash, and LDK provides nothing to recognize
/// the duplicate.
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
