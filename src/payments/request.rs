//! What a caller asks for, in types that cannot hold nonsense.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::{PaymentHash, PaymentSecret};
use lightning_types::routing::RouteHint;

use super::SendError;
use crate::amp::PaymentAddr;

/// Records from here on are free for applications (BOLT 1).
const FIRST_CUSTOM_RECORD: u64 = 65_536;
/// Blocks that are added to the final delta, so that a payment survives blocks that are found on its
/// way (lnd's `BlockPadding`).
const BLOCK_PADDING: u32 = 3;

/// What a payment may cost and use, whatever it pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub fee_limit_msat: u64,
    /// Seconds after which no new attempt is made.
    pub timeout_seconds: u64,
    /// Attempts in flight at a time.
    pub max_parts: u32,
    /// Largest attempt; 0: no limit.
    pub max_shard_msat: u64,
    /// Blocks that the whole way may take; 0: LDK's limit of 1008.
    pub cltv_limit: u32,
    /// Short channel ids that the first hop may use; empty: any.
    pub outgoing_channels: Vec<u64>,
    pub last_hop: Option<PublicKey>,
}

/// AMP to a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmpPayment {
    pub destination: PublicKey,
    pub amount_msat: u64,
    /// What the receiver files it under; random if the caller gave none.
    pub payment_addr: Option<PaymentAddr>,
    /// Blocks.
    pub final_cltv_delta: u32,
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    pub limits: Limits,
}

/// A BOLT 11 invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bolt11Payment {
    pub payment_request: String,
    pub destination: PublicKey,
    pub payment_hash: PaymentHash,
    pub payment_secret: PaymentSecret,
    pub payment_metadata: Option<Vec<u8>>,
    pub amount_msat: u64,
    /// Blocks.
    pub final_cltv_delta: u32,
    pub route_hints: Vec<RouteHint>,
    /// The invoice lets itself be paid in parts.
    pub multi_part: bool,
    /// Seconds since 1970.
    pub expires_at: u64,
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    pub limits: Limits,
}

/// The checks that all kinds share.
pub(super) fn check(
    amount_msat: u64,
    final_cltv_delta: u32,
    custom_records: &BTreeMap<u64, Vec<u8>>,
    limits: &Limits,
) -> Result<(), SendError> {
    if amount_msat == 0 {
        return Err(SendError::NoAmount);
    }
    if let Some((record, _)) = custom_records.range(..FIRST_CUSTOM_RECORD).next() {
        return Err(SendError::CustomRecord(*record));
    }
    let least = final_cltv_delta.saturating_add(BLOCK_PADDING);
    if limits.cltv_limit != 0 && limits.cltv_limit <= least {
        return Err(SendError::CltvLimit {
            limit: limits.cltv_limit,
            least,
        });
    }
    Ok(())
}
