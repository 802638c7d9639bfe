//! Attempts of outgoing payments: one HTLC on one route each.

use std::collections::BTreeMap;

use lightning_types::payment::{PaymentHash, PaymentPreimage};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The state of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptState {
    InFlight,
    Succeeded,
    Failed,
}

/// An attempt.
#[derive(Clone)]
pub struct AttemptRecord {
    /// Attempt id, counted from 1.
    pub attempt_id: u64,
    pub payment_index: u64,
    /// Payment hash of this HTLC; AMP shards each have their own.
    pub payment_hash: PaymentHash,
    /// Share and child index of an AMP shard.
    pub shard: Option<(Zeroizing<[u8; 32]>, u32)>,
    pub state: AttemptState,
    pub attempt_time_ns: u64,
    pub resolve_time_ns: Option<u64>,
    pub preimage: Option<PaymentPreimage>,
    pub route: Vec<HopRecord>,
    pub failure: Option<AttemptFailure>,
}

impl AttemptRecord {
    /// Amount that this attempt delivers, in msat.
    pub fn amount_msat(&self) -> u64 {
        self.route.last().map_or(0, |hop| hop.amt_to_forward_msat)
    }

    /// Routing fee of this attempt, in msat.
    pub fn fee_msat(&self) -> u64 {
        self.route
            .iter()
            .fold(0, |sum, hop| sum.saturating_add(hop.fee_msat))
    }
}

/// A hop of a route, as the sender sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopRecord {
    /// 33 bytes in hex. Text, because it is only shown, and lists have many of them.
    pub node_id: String,
    pub scid: u64,
    /// Amount that this hop's node forwards after deducting its fee (BOLT 4: `amt_to_forward`); for
    /// the receiver, the amount it gets.
    pub amt_to_forward_msat: u64,
    pub fee_msat: u64,
    /// Block height in this hop's payload (BOLT 4: `outgoing_cltv_value`).
    pub expiry: u32,
    /// Blocks that this hop's node keeps for itself: how much later than `expiry` the HTLC that it
    /// gets expires; 0 for the receiver.
    pub cltv_delta: u32,
    /// Custom TLV records (types >= 65536) of this attempt only; those of the payment are in its
    /// terms.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_records: BTreeMap<u64, Vec<u8>>,
}

/// The reason why an attempt failed, as far as LDK reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailure {
    /// The receiver rejected the payment permanently.
    pub by_receiver: bool,
    /// The receiver did not get all parts in time (`mpp_timeout`).
    #[serde(default)]
    pub timed_out: bool,
    /// The receiver could not use the payload (`invalid_onion_payload`).
    #[serde(default)]
    pub invalid_payload: bool,
    /// Index of the failing node in the route; 0 is this node.
    pub source_index: u32,
    /// Block height at the time of the failure.
    pub height: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";

    /// A stored route: a plain hop, and a receiver with a custom record.
    const ROUTE: &str = concat!(
        r#"[{"node_id":"02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619","#,
        r#""scid":7,"amt_to_forward_msat":50000,"fee_msat":10,"expiry":900,"cltv_delta":40},"#,
        r#"{"node_id":"02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619","#,
        r#""scid":8,"amt_to_forward_msat":50000,"fee_msat":0,"expiry":900,"cltv_delta":0,"#,
        r#""custom_records":{"65536":[1]}}]"#,
    );

    #[test]
    fn routes_keep_their_stored_form() {
        let hop = HopRecord {
            node_id: NODE.into(),
            scid: 7,
            amt_to_forward_msat: 50_000,
            fee_msat: 10,
            expiry: 900,
            cltv_delta: 40,
            custom_records: BTreeMap::new(),
        };
        let last = HopRecord {
            scid: 8,
            fee_msat: 0,
            cltv_delta: 0,
            custom_records: BTreeMap::from([(65_536, vec![1])]),
            ..hop.clone()
        };
        let route = vec![hop, last];
        assert_eq!(serde_json::to_string(&route).unwrap(), ROUTE);
        assert_eq!(
            serde_json::from_str::<Vec<HopRecord>>(ROUTE).unwrap(),
            route
        );
    }

    #[test]
    fn failures_keep_their_stored_form() {
        let failure = AttemptFailure {
            by_receiver: true,
            timed_out: false,
            invalid_payload: false,
            source_index: 2,
            height: 800,
        };
        let stored = concat!(
            r#"{"by_receiver":true,"timed_out":false,"invalid_payload":false,"#,
            r#""source_index":2,"height":800}"#,
        );
        assert_eq!(serde_json::to_string(&failure).unwrap(), stored);
        let early = r#"{"by_receiver":true,"source_index":2,"height":800}"#;
        for text in [stored, early] {
            assert_eq!(
                serde_json::from_str::<AttemptFailure>(text).unwrap(),
                failure
            );
        }
    }
}
