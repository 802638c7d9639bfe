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

/// A payment to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayment {
    pub destination: PublicKey,
    pub amount_msat: u64,
    /// Blocks.
    pub final_cltv_delta: u32,
    pub method: Method,
    /// The invoice that is paid; none for a payment to a public key.
    pub invoice: Option<PaidInvoice>,
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    pub limits: Limits,
}

/// How the receiver knows what the parts of a payment belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// By root and set_id, which are new for each payment: a static invoice is paid any number of
    /// times, also at the same time.
    Amp {
        /// What the receiver files it under; none: a random one.
        payment_addr: Option<PaymentAddr>,
    },
    /// By the hash and the secret of an invoice that is paid once.
    Bolt11 {
        payment_hash: PaymentHash,
        payment_secret: PaymentSecret,
        /// The invoice lets itself be paid in parts.
        multi_part: bool,
    },
}

/// What an invoice adds to a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidInvoice {
    pub payment_request: String,
    /// Seconds since 1970.
    pub expires_at: u64,
    pub route_hints: Vec<RouteHint>,
    pub payment_metadata: Option<Vec<u8>>,
}

impl NewPayment {
    /// Whether it makes sense at this moment (seconds since 1970).
    pub(super) fn check(&self, now: u64) -> Result<(), SendError> {
        if self.amount_msat == 0 {
            return Err(SendError::NoAmount);
        }
        let mut reserved = self.custom_records.range(..FIRST_CUSTOM_RECORD);
        if let Some((record, _)) = reserved.next() {
            return Err(SendError::CustomRecord(*record));
        }
        let limit = self.limits.cltv_limit;
        let least = self.final_cltv_delta.saturating_add(BLOCK_PADDING);
        if limit != 0 && limit <= least {
            return Err(SendError::CltvLimit { limit, least });
        }
        match &self.invoice {
            Some(invoice) if invoice.expires_at <= now => {
                Err(SendError::Expired(invoice.expires_at))
            }
            _ => Ok(()),
        }
    }
}
