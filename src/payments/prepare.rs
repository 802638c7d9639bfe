//! From what a caller asks for to the payment at its start: its keys, its terms, its record.

use std::sync::atomic::Ordering;

use bitcoin::hex::DisplayHex;
use zeroize::Zeroizing;

use super::flow::{Flow, Hashes};
use super::request::{Method, NewPayment};
use super::send::{Payments, Recipient, now, now_ns};
use crate::amp::{PaymentAddr, Share, Splitter};
use crate::storage::payments::{FailureReason, PaymentRecord, PaymentState, PaymentTerms};

/// What tells the HTLCs of a payment from those of all others.
struct Keys {
    /// The set_id for AMP, else the payment hash.
    identifier: [u8; 32],
    payment_addr: [u8; 32],
    root: Option<Zeroizing<[u8; 32]>>,
    hashes: Hashes,
}

impl Payments {
    pub(super) fn prepare(&self, payment: NewPayment) -> (Flow, Recipient) {
        let keys = self.keys(&payment.method);
        let recipient = recipient(&payment, keys.payment_addr);
        let record = PaymentRecord {
            payment_index: self.next_payment.fetch_add(1, Ordering::Relaxed),
            identifier: keys.identifier,
            created_at_ns: now_ns(),
            state: PaymentState::InFlight,
            failure_reason: FailureReason::None,
            preimage: None,
            root: keys.root,
            terms: terms(payment, keys.payment_addr),
        };
        (Flow::new(record, keys.hashes), recipient)
    }

    fn keys(&self, method: &Method) -> Keys {
        let random = || self.outbound.random_bytes();
        match method {
            Method::Amp { payment_addr } => {
                let root = Share::from_bytes(random());
                Keys {
                    identifier: random(),
                    payment_addr: payment_addr.map_or_else(random, PaymentAddr::to_bytes),
                    root: Some(Zeroizing::new(root.to_bytes())),
                    hashes: Hashes::Amp(Splitter::new(root)),
                }
            }
            Method::Bolt11 {
                payment_hash,
                payment_secret,
                ..
            } => Keys {
                identifier: payment_hash.0,
                payment_addr: payment_secret.0,
                root: None,
                hashes: Hashes::Bolt11(*payment_hash),
            },
        }
    }
}

fn recipient(payment: &NewPayment, payment_addr: [u8; 32]) -> Recipient {
    let invoice = payment.invoice.as_ref();
    Recipient {
        destination: payment.destination,
        payment_addr,
        metadata: invoice.and_then(|invoice| invoice.payment_metadata.clone()),
        route_hints: invoice.map_or_else(Vec::new, |invoice| invoice.route_hints.clone()),
    }
}

fn terms(payment: NewPayment, payment_addr: [u8; 32]) -> PaymentTerms {
    let limits = payment.limits;
    let in_parts = !matches!(
        payment.method,
        Method::Bolt11 {
            multi_part: false,
            ..
        }
    );
    let invoice = payment.invoice;
    PaymentTerms {
        destination: payment.destination.serialize().to_lower_hex_string(),
        amount_msat: payment.amount_msat,
        payment_request: invoice.map_or_else(String::new, |invoice| invoice.payment_request),
        payment_addr: Some(payment_addr),
        custom_records: payment.custom_records,
        fee_limit_msat: limits.fee_limit_msat,
        final_cltv_delta: payment.final_cltv_delta,
        cltv_limit: limits.cltv_limit,
        max_parts: if in_parts { limits.max_parts } else { 1 },
        max_shard_msat: limits.max_shard_msat,
        outgoing_channels: limits.outgoing_channels,
        last_hop: limits
            .last_hop
            .map(|key| key.serialize().to_lower_hex_string()),
        deadline: now().saturating_add(limits.timeout_seconds),
        by_route: false,
    }
}
