//! Validated requests for payments.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::PaymentHash;
use lightning_types::routing::RouteHint;

use super::SendError;
use crate::routing::query::{BLOCK_PADDING, DEFAULT_CLTV_LIMIT};
use ldk_amp::PaymentAddr;

/// TLV types from here on are free for applications (BOLT 1).
const FIRST_CUSTOM_RECORD: u64 = 65_536;

/// Limits on the cost and the routes of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub fee_limit_msat: u64,
    /// No new attempt is made after this many seconds.
    pub timeout_seconds: u64,
    /// The maximum number of attempts in flight.
    pub max_parts: u32,
    /// The largest attempt; 0: no limit.
    pub max_shard_msat: u64,
    /// The maximum expiry of our own HTLC, in blocks from the tip; 0: 2016, which is also the
    /// maximum.
    pub cltv_limit: u32,
    /// SCIDs that the first hop may use; empty: any.
    pub outgoing_channels: Vec<u64>,
    pub last_hop: Option<PublicKey>,
}

/// A payment to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayment {
    pub destination: PublicKey,
    pub amount_msat: u64,
    /// In blocks.
    pub final_cltv_delta: u32,
    pub method: Method,
    /// The invoice to pay; `None` for a payment to a public key.
    pub invoice: Option<PaidInvoice>,
    /// Route hints in addition to those of the invoice.
    pub route_hints: Vec<RouteHint>,
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    /// Whether the receiver may be this node.
    pub allow_self_payment: bool,
    pub limits: Limits,
}

/// How the receiver recognizes the parts of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// By root and set_id, which are new for each payment: a static invoice can be paid any number
    /// of times, also concurrently.
    Amp {
        /// The payment address; `None`: a random one.
        payment_addr: Option<PaymentAddr>,
    },
    /// By a payment hash: of a BOLT 11 invoice, a keysend, or given by the client.
    Hash {
        payment_hash: PaymentHash,
        /// BOLT 4's payment_secret; keysend has none.
        payment_addr: Option<PaymentAddr>,
        /// Whether the receiver accepts the payment in several parts (MPP).
        multi_part: bool,
    },
}

/// The parts of an invoice that a payment needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidInvoice {
    pub payment_request: String,
    /// In seconds since 1970.
    pub expires_at: u64,
    pub route_hints: Vec<RouteHint>,
    pub payment_metadata: Option<Vec<u8>>,
}

impl NewPayment {
    /// Validates the request. The expiry of its invoice is checked later, once it is clear that it
    /// has not already been paid.
    pub(super) fn check(&self) -> Result<(), SendError> {
        if self.amount_msat == 0 {
            return Err(SendError::NoAmount);
        }
        let mut reserved = self.custom_records.range(..FIRST_CUSTOM_RECORD);
        if let Some((record, _)) = reserved.next() {
            return Err(SendError::CustomRecord(*record));
        }
        self.check_cltv_limit()?;
        self.check_shards()
    }

    /// The expiry in seconds since 1970; `None` if it pays no invoice.
    pub(super) fn expires_at(&self) -> Option<u64> {
        self.invoice.as_ref().map(|invoice| invoice.expires_at)
    }

    /// lnd's rule: the limit must leave at least one block in addition to the receiver's.
    fn check_cltv_limit(&self) -> Result<(), SendError> {
        let most = DEFAULT_CLTV_LIMIT;
        let limit = match self.limits.cltv_limit {
            0 => most,
            limit => limit,
        };
        let least = self.final_cltv_delta.saturating_add(BLOCK_PADDING);
        if limit > most {
            return Err(SendError::CltvLimitTooHigh { limit, most });
        }
        if limit <= least {
            return Err(SendError::CltvLimit { limit, least });
        }
        Ok(())
    }

    fn check_shards(&self) -> Result<(), SendError> {
        let (max_shard_msat, max_parts) = (self.limits.max_shard_msat, self.max_parts());
        let most = max_shard_msat.saturating_mul(u64::from(max_parts));
        if max_shard_msat > 0 && self.amount_msat > most {
            return Err(SendError::ShardsTooSmall {
                amount_msat: self.amount_msat,
                max_parts,
                max_shard_msat,
            });
        }
        Ok(())
    }

    /// The maximum number of attempts in flight.
    pub(super) fn max_parts(&self) -> u32 {
        match self.method {
            Method::Hash {
                multi_part: false, ..
            } => 1,
            Method::Hash { .. } | Method::Amp { .. } => self.limits.max_parts,
        }
    }
}
