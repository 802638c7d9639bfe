//! From a payment request of the API to the initial payment: its keys, terms and record.

use std::sync::atomic::Ordering;

use zeroize::Zeroizing;

use super::active::Recipient;
use super::hints;
use super::lifecycle::Lifecycle;
use super::registry::Payments;
use super::request::{Method, NewPayment};
use super::shards::HashSource;
use crate::clock::{unix_nanos, unix_seconds};
use crate::model::payment::{FailureReason, PaymentRecord, PaymentState, PaymentTerms};
use ldk_amp::{PaymentAddr, Share, Splitter};

/// The keys that identify a payment's HTLCs.
struct Keys {
    /// The set_id for AMP, otherwise the payment hash.
    identifier: [u8; 32],
    payment_addr: Option<PaymentAddr>,
    root: Option<Zeroizing<[u8; 32]>>,
    hash_source: HashSource,
}

impl Payments {
    pub(super) fn prepare(&self, payment: NewPayment) -> (Lifecycle, Recipient) {
        let keys = self.keys(&payment.method);
        let recipient = recipient(&payment, keys.payment_addr);
        let record = PaymentRecord {
            payment_index: self.next_payment.fetch_add(1, Ordering::Relaxed),
            identifier: keys.identifier,
            created_at_ns: unix_nanos(),
            state: PaymentState::InFlight,
            failure_reason: FailureReason::None,
            preimage: None,
            root: keys.root,
            terms: terms(payment, keys.payment_addr),
        };
        (Lifecycle::new(record, keys.hash_source), recipient)
    }

    fn keys(&self, method: &Method) -> Keys {
        let random = || self.outbound.random_bytes();
        match method {
            Method::Amp { payment_addr } => {
                let root = Share::from_bytes(random());
                Keys {
                    identifier: random(),
                    payment_addr: payment_addr.or(Some(PaymentAddr::from_bytes(random()))),
                    root: Some(Zeroizing::new(root.to_bytes())),
                    hash_source: HashSource::Amp(Splitter::new(root)),
                }
            }
            Method::Hash {
                payment_hash,
                payment_addr,
                ..
            } => Keys {
                identifier: payment_hash.0,
                payment_addr: *payment_addr,
                root: None,
                hash_source: HashSource::Same(*payment_hash),
            },
        }
    }
}

fn recipient(payment: &NewPayment, payment_addr: Option<PaymentAddr>) -> Recipient {
    let invoice = payment.invoice.as_ref();
    let of_invoice = invoice.map_or_else(Vec::new, |invoice| invoice.route_hints.clone());
    Recipient {
        destination: payment.destination,
        payment_addr,
        metadata: invoice.and_then(|invoice| invoice.payment_metadata.clone()),
        route_hints: [payment.route_hints.clone(), of_invoice].concat(),
    }
}

fn terms(payment: NewPayment, payment_addr: Option<PaymentAddr>) -> PaymentTerms {
    let max_parts = payment.max_parts();
    let limits = payment.limits;
    let invoice = payment.invoice;
    PaymentTerms {
        destination: Some(payment.destination),
        amount_msat: payment.amount_msat,
        payment_request: invoice.map_or_else(String::new, |invoice| invoice.payment_request),
        payment_addr,
        route_hints: hints::to_records(&payment.route_hints),
        custom_records: payment.custom_records,
        fee_limit_msat: limits.fee_limit_msat,
        final_cltv_delta: payment.final_cltv_delta,
        cltv_limit: limits.cltv_limit,
        max_parts,
        max_shard_msat: limits.max_shard_msat,
        outgoing_channels: limits.outgoing_channels,
        last_hop: limits.last_hop,
        deadline: unix_seconds().saturating_add(limits.timeout_seconds),
        by_route: false,
    }
}
