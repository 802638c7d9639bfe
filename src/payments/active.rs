//! A payment in progress.

use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning_types::routing::RouteHint;

use super::lifecycle::Lifecycle;
use super::progress::Progress;
use super::shards::ShardRecord;
use super::updates::{Followers, Updates};
use super::view::PaymentView;
use crate::model::payment::PaymentTerms;
use ldk_amp::PaymentAddr;

/// The recipient's part of the onion, the same in every attempt.
#[derive(Clone)]
pub(super) struct Recipient {
    pub(super) destination: PublicKey,
    pub(super) payment_addr: Option<PaymentAddr>,
    pub(super) metadata: Option<Vec<u8>>,
    pub(super) route_hints: Vec<RouteHint>,
}

/// The constant data from which attempts are built.
pub(super) struct AttemptTemplate {
    pub(super) identifier: [u8; 32],
    /// The largest record 14 that an attempt may need; `None` if not AMP.
    pub(super) largest_shard: Option<ShardRecord>,
    pub(super) terms: PaymentTerms,
    pub(super) recipient: Recipient,
}

/// A payment in progress.
pub(super) struct Active {
    pub(super) template: AttemptTemplate,
    /// Held by the thread that advances the payment.
    pub(super) advancing: Mutex<()>,
    pub(super) progress: Mutex<Progress>,
    pub(super) view: Updates,
}

impl Active {
    /// `retry_no_route_until`: see [`Progress`].
    pub(super) fn new(
        lifecycle: Lifecycle,
        recipient: Recipient,
        retry_no_route_until: u64,
        followers: &Arc<Followers>,
    ) -> Arc<Self> {
        let view = Updates::new(PaymentView::of(&lifecycle), followers);
        let template = AttemptTemplate {
            identifier: lifecycle.record.identifier,
            largest_shard: lifecycle.largest_shard(),
            terms: lifecycle.record.terms.clone(),
            recipient,
        };
        Arc::new(Self {
            template,
            advancing: Mutex::default(),
            progress: Mutex::new(Progress::new(lifecycle, retry_no_route_until)),
            view,
        })
    }
}
