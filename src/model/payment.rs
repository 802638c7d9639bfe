//! Outgoing payments.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use ldk_amp::PaymentAddr;
use lightning_types::payment::PaymentPreimage;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::json;

/// The state of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentState {
    InFlight,
    Succeeded,
    Failed,
}

/// The reason why a payment failed, in lnd's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    None,
    Timeout,
    NoRoute,
    Error,
    IncorrectPaymentDetails,
    InsufficientBalance,
    Canceled,
}

/// The parameters of a payment request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentTerms {
    /// `None` if the stored key is damaged.
    #[serde(with = "json::node_key")]
    pub destination: Option<PublicKey>,
    pub amount_msat: u64,
    /// Maximum total routing fee.
    pub fee_limit_msat: u64,
    /// BOLT 11 text, empty if there is none.
    pub payment_request: String,
    /// The payment secret (BOLT 4: `payment_secret`); keysend payments have none.
    #[serde(default, with = "json::payment_addr")]
    pub payment_addr: Option<PaymentAddr>,
    /// Blocks.
    pub final_cltv_delta: u32,
    /// Maximum total time lock in blocks from now; 0 for 2016.
    pub cltv_limit: u32,
    pub max_parts: u32,
    /// 0: no limit.
    pub max_shard_msat: u64,
    /// Short channel ids; empty for any channel.
    pub outgoing_channels: Vec<u64>,
    #[serde(default, with = "json::optional_node_key")]
    pub last_hop: Option<PublicKey>,
    /// Additional route hints from the API client; the invoice's hints are in its text.
    #[serde(default)]
    pub route_hints: Vec<Vec<HintHopRecord>>,
    /// Custom TLV records (types >= 65536) for the receiver.
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    /// Seconds since 1970 after which no new attempt is made.
    pub deadline: u64,
    /// The API client chooses the routes (SendToRoute).
    #[serde(default)]
    pub by_route: bool,
}

/// A hop of a route hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintHopRecord {
    /// `None` if the stored key is damaged.
    #[serde(with = "json::node_key")]
    pub node_id: Option<PublicKey>,
    pub scid: u64,
    pub fee_base_msat: u32,
    /// Millionths of the amount.
    pub fee_ppm: u32,
    /// Blocks.
    pub cltv_delta: u16,
}

/// An outgoing payment.
#[derive(Clone)]
pub struct PaymentRecord {
    /// Payment index, counted from 1.
    pub payment_index: u64,
    /// Payment hash, or set_id for AMP.
    pub identifier: [u8; 32],
    pub created_at_ns: u64,
    pub state: PaymentState,
    /// Reason why an in-flight payment makes no more attempts, if any.
    pub failure_reason: FailureReason,
    /// The preimage of the last attempt that settled.
    pub preimage: Option<PaymentPreimage>,
    /// Root share of an in-flight AMP payment, the XOR of all its shares.
    pub root: Option<Zeroizing<[u8; 32]>>,
    pub terms: PaymentTerms,
}

impl std::fmt::Debug for PaymentRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaymentRecord")
            .field("payment_index", &self.payment_index)
            .field("state", &self.state)
            .field("failure_reason", &self.failure_reason)
            .finish_non_exhaustive()
    }
}

/// A filter for payments, and their order.
#[derive(Debug, Clone, Copy, Default)]
pub struct PaymentPage {
    /// A payment index, exclusive; 0 is the beginning, or the end if `reversed`.
    pub index_offset: u64,
    pub limit: u64,
    /// List the last payments before the offset; the result is still oldest first, as in lnd.
    pub reversed: bool,
    /// Include payments that are in flight or failed.
    pub include_incomplete: bool,
    /// Seconds since 1970, inclusive; 0: no bound.
    pub created_from: u64,
    /// Seconds since 1970, inclusive; 0: no bound.
    pub created_to: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESTINATION: &str = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
    const LAST_HOP: &str = "0324653eac434488002cc06bbfb7f10fe18991e35f9fe4302dbea6d2353dc0ab1c";

    /// Terms as they are stored, with every field set.
    const FULL: &str = concat!(
        r#"{"destination":"02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619","#,
        r#""amount_msat":50000,"fee_limit_msat":2500,"payment_request":"lnbcrt1","#,
        r#""payment_addr":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,"#,
        r#"26,27,28,29,30,255],"final_cltv_delta":80,"cltv_limit":2016,"max_parts":16,"#,
        r#""max_shard_msat":10000,"outgoing_channels":[7,18446744073709551615],"last_hop":"#,
        r#""0324653eac434488002cc06bbfb7f10fe18991e35f9fe4302dbea6d2353dc0ab1c","route_hints":"#,
        r#"[[{"node_id":"0324653eac434488002cc06bbfb7f10fe18991e35f9fe4302dbea6d2353dc0ab1c","#,
        r#""scid":9,"fee_base_msat":1000,"fee_ppm":1,"cltv_delta":40}]],"custom_records":"#,
        r#"{"65536":[1,255]},"deadline":1700000060,"by_route":true}"#,
    );

    /// The terms of a keysend payment, from the time before `route_hints` and `by_route`.
    const EARLY: &str = concat!(
        r#"{"destination":"02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619","#,
        r#""amount_msat":50000,"fee_limit_msat":2500,"payment_request":"","payment_addr":null,"#,
        r#""final_cltv_delta":80,"cltv_limit":0,"max_parts":1,"max_shard_msat":0,"#,
        r#""outgoing_channels":[],"last_hop":null,"custom_records":{},"deadline":1700000060}"#,
    );

    fn key(hex: &str) -> PublicKey {
        hex.parse().unwrap()
    }

    fn full() -> PaymentTerms {
        let mut addr = std::array::from_fn(|n| n as u8);
        addr[31] = 255;
        PaymentTerms {
            destination: Some(key(DESTINATION)),
            amount_msat: 50_000,
            fee_limit_msat: 2_500,
            payment_request: "lnbcrt1".into(),
            payment_addr: Some(PaymentAddr::from_bytes(addr)),
            final_cltv_delta: 80,
            cltv_limit: 2_016,
            max_parts: 16,
            max_shard_msat: 10_000,
            outgoing_channels: vec![7, u64::MAX],
            last_hop: Some(key(LAST_HOP)),
            route_hints: vec![vec![HintHopRecord {
                node_id: Some(key(LAST_HOP)),
                scid: 9,
                fee_base_msat: 1_000,
                fee_ppm: 1,
                cltv_delta: 40,
            }]],
            custom_records: BTreeMap::from([(65_536, vec![1, 255])]),
            deadline: 1_700_000_060,
            by_route: true,
        }
    }

    #[test]
    fn terms_keep_their_stored_form() {
        assert_eq!(serde_json::to_string(&full()).unwrap(), FULL);
        assert_eq!(serde_json::from_str::<PaymentTerms>(FULL).unwrap(), full());
    }

    #[test]
    fn damaged_keys_do_not_make_terms_unreadable() {
        let damaged = FULL
            .replace(DESTINATION, "not a key")
            .replace(LAST_HOP, "02ee");
        let read: PaymentTerms = serde_json::from_str(&damaged).unwrap();
        let mut expected = full();
        (expected.destination, expected.last_hop) = (None, None);
        expected.route_hints[0][0].node_id = None;
        assert_eq!(read, expected);
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(
            serde_json::from_str::<PaymentTerms>(&written).unwrap(),
            read
        );
    }

    #[test]
    fn reads_terms_of_earlier_versions() {
        let expected = PaymentTerms {
            destination: Some(key(DESTINATION)),
            amount_msat: 50_000,
            fee_limit_msat: 2_500,
            final_cltv_delta: 80,
            max_parts: 1,
            deadline: 1_700_000_060,
            ..PaymentTerms::default()
        };
        assert_eq!(
            serde_json::from_str::<PaymentTerms>(EARLY).unwrap(),
            expected
        );
    }
}
