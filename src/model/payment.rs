//! Outgoing payments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

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
    /// 33 bytes in hex.
    pub destination: String,
    pub amount_msat: u64,
    /// Maximum total routing fee.
    pub fee_limit_msat: u64,
    /// BOLT 11 text, empty if there is none.
    pub payment_request: String,
    /// The payment secret (BOLT 4: `payment_secret`); keysend payments have none.
    pub payment_addr: Option<[u8; 32]>,
    /// Blocks.
    pub final_cltv_delta: u32,
    /// Maximum total time lock in blocks from now; 0 for 2016.
    pub cltv_limit: u32,
    pub max_parts: u32,
    /// 0: no limit.
    pub max_shard_msat: u64,
    /// Short channel ids; empty for any channel.
    pub outgoing_channels: Vec<u64>,
    /// 33 bytes in hex.
    pub last_hop: Option<String>,
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
    /// 33 bytes in hex.
    pub node_id: String,
    pub scid: u64,
    pub fee_base_msat: u32,
    /// Millionths of the amount.
    pub fee_ppm: u32,
    /// Blocks.
    pub cltv_delta: u16,
}

/// A row of `payments`.
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
    pub preimage: Option<[u8; 32]>,
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
