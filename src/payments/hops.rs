//! Converting LDK's paths to the hops of the API.

use bitcoin::hex::DisplayHex;
use lightning::routing::router::Path;

use crate::model::attempt::HopRecord;

/// The path as shown by the API, with amounts summed up from the end. LDK counts an HTLC's expiry
/// from the next block.
pub fn hops(path: &Path, height: u32) -> Vec<HopRecord> {
    let mut forward = 0u64;
    let mut expiry = height.saturating_add(1);
    let mut hops: Vec<HopRecord> = Vec::new();
    for (position, hop) in path.hops.iter().rev().enumerate() {
        // LDK puts the delivered amount into the last hop's fee.
        let (fee_msat, cltv_delta) = match position {
            0 => (0, 0),
            _ => (hop.fee_msat, hop.cltv_expiry_delta),
        };
        if position == 0 {
            forward = hop.fee_msat;
            expiry = expiry.saturating_add(hop.cltv_expiry_delta);
        }
        hops.push(HopRecord {
            node_id: hop.pubkey.serialize().to_lower_hex_string(),
            scid: hop.short_channel_id,
            amt_to_forward_msat: forward,
            fee_msat,
            expiry,
            cltv_delta,
            ..HopRecord::default()
        });
        if position > 0 {
            forward = forward.saturating_add(hop.fee_msat);
            expiry = expiry.saturating_add(hop.cltv_expiry_delta);
        }
    }
    hops.reverse();
    hops
}
