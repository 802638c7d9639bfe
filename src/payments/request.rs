//! What a caller asks for, in types that cannot hold nonsense.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::PaymentHash;
use lightning_types::routing::RouteHint;

use super::SendError;
use ldk_amp::PaymentAddr;
use crate::routing::query::{BLOCK_PADDING, DEFAULT_CLTV_LIMIT};

/// Records from here on are free for applications (BOLT 1).
const FIRST_CUSTOM_RECORD: u64 = 65_536;

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
    /// Blocks from the newest one that our own HTLC may take at most; 0: 2016, which is the most that
    /// there is.
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
    /// Ways to the receiver that the caller knows, beside those of the invoice.
    pub route_hints: Vec<RouteHint>,
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    /// Whether the receiver may be this node.
    pub allow_self_payment: bool,
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
    /// By a payment hash: an ordinary invoice's, a keysend's, or one that the caller knows of.
    Hash {
        payment_hash: PaymentHash,
        /// BOLT 4's payment_secret; a keysend has none.
        payment_addr: Option<PaymentAddr>,
        /// The receiver says that it takes the payment in parts, by hash and address.
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
    /// Whether it makes sense. Its invoice's expiry is checked once it is clear that it was not paid
    /// before.
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

    /// Seconds since 1970; `None`: never, or it pays no invoice.
    pub(super) fn expires_at(&self) -> Option<u64> {
        self.invoice.as_ref().map(|invoice| invoice.expires_at)
    }

    /// lnd's rule: room for at least one block beside the receiver's.
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

    /// How many attempts may be in flight at a time.
    pub(super) fn max_parts(&self) -> u32 {
        match self.method {
            Method::Hash {
                multi_part: false, ..
            } => 1,
            Method::Hash { .. } | Method::Amp { .. } => self.limits.max_parts,
        }
    }
}
