//! `SendToRoute`: payments whose attempts come from the client, one HTLC per given route.
//!
//! Several calls, also concurrent ones, can form one payment: it is identified by the set_id (AMP)
//! or the payment hash, and all its attempts have the same total. Nothing is retried here.
//! [`super::lifecycle`] determines how such a payment ends; the rows and their order are those of
//! every payment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bitcoin::hex::DisplayHex;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::routing::router::Path;
use lightning_types::payment::PaymentHash;
use zeroize::Zeroizing;

use super::active::{Active, Recipient};
use super::given_route::GivenRoute;
use super::lifecycle::Lifecycle;
use super::registry::Payments;
use super::{SendError, SendToRouteError, ids};
use crate::clock::unix_nanos;
use crate::model::attempt::{AttemptFailure, AttemptRecord, AttemptState};
use crate::model::payment::{FailureReason, PaymentRecord, PaymentState, PaymentTerms};
use crate::storage::Health;
use crate::storage::payments::PutPayment;
use crate::sync::lock;
use ldk_amp::RecipientError;
use ldk_amp::{AmpRecord, MppRecord};

/// One HTLC as requested by the client.
#[derive(Debug, Clone)]
pub struct RouteAttempt {
    /// For AMP, the hash of this shard.
    pub payment_hash: PaymentHash,
    pub route: GivenRoute,
    /// `None`: the HTLC is the whole payment.
    pub mpp: Option<MppRecord>,
    pub amp: Option<AmpRecord>,
    /// The `payment_metadata` of an invoice (BOLT 4, record 16).
    pub metadata: Option<Vec<u8>>,
    /// TLV records for the receiver.
    pub custom_records: BTreeMap<u64, Vec<u8>>,
    /// A failure that does not come from the receiver leaves the payment open for further attempts.
    pub skip_temp_err: bool,
}

/// A finished attempt with its payment.
pub struct EndedAttempt {
    pub payment: PaymentRecord,
    pub attempt: AttemptRecord,
}

/// Everything that is checked and built before anything is stored.
struct Ready {
    path: Path,
    onion: RecipientOnionFields,
    terms: PaymentTerms,
    recipient: Recipient,
}

impl RouteAttempt {
    /// The payment's identifier, as in lnd.
    fn identifier(&self) -> [u8; 32] {
        let set_id = self.amp.as_ref().map(|amp| amp.set_id.to_bytes());
        set_id.unwrap_or(self.payment_hash.0)
    }

    fn check(&self) -> Result<(), SendToRouteError> {
        let amount = self.route.amount_msat();
        match (&self.mpp, &self.amp) {
            (None, Some(_)) => Err(SendToRouteError::AmpWithoutMpp),
            (Some(mpp), _) if mpp.total_msat < amount => Err(SendToRouteError::MoreThanTotal),
            _ => Ok(()),
        }
    }

    fn onion(&self) -> Result<RecipientOnionFields, RecipientError> {
        let metadata = self.metadata.as_deref();
        let custom: Vec<_> = self.custom_records.clone().into_iter().collect();
        match &self.mpp {
            Some(mpp) => ldk_amp::recipient_fields(mpp, self.amp.as_ref(), metadata, &custom),
            None => ldk_amp::fields_without_mpp(metadata, &custom),
        }
    }

    fn terms(&self) -> PaymentTerms {
        let amount = self.route.amount_msat();
        let mpp = self.mpp.as_ref();
        PaymentTerms {
            destination: self.route.destination(),
            amount_msat: mpp.map_or(amount, |mpp| mpp.total_msat),
            payment_addr: mpp.map(|mpp| mpp.payment_addr),
            max_parts: u32::MAX,
            by_route: true,
            ..PaymentTerms::default()
        }
    }

    fn row(&self, attempt_id: u64, payment_index: u64) -> AttemptRecord {
        let mut route = self.route.records();
        if let Some(last) = route.last_mut() {
            last.custom_records = self.custom_records.clone();
        }
        let shard = |amp: &AmpRecord| (Zeroizing::new(amp.share.to_bytes()), amp.child_index);
        AttemptRecord {
            attempt_id,
            payment_index,
            payment_hash: self.payment_hash,
            shard: self.amp.as_ref().map(shard),
            state: AttemptState::InFlight,
            attempt_time_ns: unix_nanos(),
            resolve_time_ns: None,
            preimage: None,
            route,
            failure: None,
        }
    }
}

impl Payments {
    /// Sends one HTLC and waits until it has settled or failed; the result is on disk. The HTLC
    /// continues if the caller stops waiting.
    ///
    /// A failure from the receiver ends the payment. So does any other failure unless the attempt
    /// has `skip_temp_err`: no further attempts are accepted, and the payment fails once none is in
    /// flight. A failed payment can be started again.
    ///
    /// # Errors
    ///
    /// [`SendToRouteError`]; nothing was sent or stored.
    pub async fn send_to_route(
        self: &Arc<Self>,
        attempt: RouteAttempt,
    ) -> Result<EndedAttempt, SendToRouteError> {
        if let Health::Failing(why) = &*self.store.health().borrow() {
            return Err(SendError::NotWriting(why.clone()).into());
        }
        let ready = self.ready(&attempt)?;
        let active = self.payment_of(&attempt, &ready)?;
        let attempt_id = self.send_given(&active, &attempt, ready)?;
        self.end_of(&active, attempt_id).await
    }

    fn ready(&self, attempt: &RouteAttempt) -> Result<Ready, SendToRouteError> {
        attempt.route.check(&self.outbound.our_node_id())?;
        attempt.check()?;
        let first = attempt.route.first()?;
        if self.outbound.usable_peer(first.scid) != Some(first.node) {
            return Err(SendToRouteError::NotOurChannel {
                scid: first.scid,
                node: first.node,
            });
        }
        Ok(Ready {
            path: attempt.route.path(self.outbound.height())?,
            onion: attempt.onion()?,
            terms: attempt.terms(),
            // Not used for attempts: each brings its own.
            recipient: Recipient {
                destination: attempt.route.last()?.node,
                payment_addr: attempt.mpp.map(|mpp| mpp.payment_addr),
                metadata: None,
                route_hints: Vec::new(),
            },
        })
    }

    /// Returns the payment of the attempt, or a new one if there is none or if it failed. All under
    /// one lock, so that concurrent shards find the same payment.
    fn payment_of(
        &self,
        attempt: &RouteAttempt,
        ready: &Ready,
    ) -> Result<Arc<Active>, SendToRouteError> {
        let identifier = attempt.identifier();
        let mut all = lock(&self.active);
        let state = match all.get(&identifier) {
            Some(active) => {
                let progress = lock(&active.progress);
                match progress.lifecycle.record.state {
                    PaymentState::InFlight => return Ok(active.clone()),
                    ended => Some(ended),
                }
            }
            None => self.store.payment(&identifier)?.map(|record| record.state),
        };
        match state {
            Some(PaymentState::Succeeded) => return Err(SendError::AlreadyPaid.into()),
            Some(PaymentState::InFlight) => return Err(SendError::InFlight.into()),
            Some(PaymentState::Failed) | None => {}
        }
        let record = self.new_record(identifier, ready);
        self.store.submit_deferred(PutPayment(record.clone()));
        let active = Active::new(
            Lifecycle::send_to_route(record),
            ready.recipient.clone(),
            0,
            &self.followers,
        );
        all.insert(identifier, active.clone());
        Ok(active)
    }

    fn new_record(&self, identifier: [u8; 32], ready: &Ready) -> PaymentRecord {
        PaymentRecord {
            payment_index: self.next_payment.fetch_add(1, Ordering::Relaxed),
            identifier,
            created_at_ns: unix_nanos(),
            state: PaymentState::InFlight,
            failure_reason: FailureReason::None,
            preimage: None,
            root: None,
            terms: ready.terms.clone(),
        }
    }

    /// Stores the row, then sends the HTLC, as for every attempt.
    fn send_given(
        self: &Arc<Self>,
        active: &Arc<Active>,
        attempt: &RouteAttempt,
        ready: Ready,
    ) -> Result<u64, SendToRouteError> {
        let mut progress = lock(&active.progress);
        progress
            .lifecycle
            .takes(&ready.terms, attempt.route.amount_msat())?;
        let attempt_id = self.next_attempt.fetch_add(1, Ordering::Relaxed);
        let row = attempt.row(attempt_id, progress.lifecycle.record.payment_index);
        progress.lifecycle.add_given(row, attempt.skip_temp_err);
        self.store_attempt(&progress, attempt_id);
        let id = ids::of(&attempt.payment_hash, attempt_id);
        self.register(id, active, attempt_id);
        let sent = self
            .outbound
            .send(ready.path, attempt.payment_hash, ready.onion, id);
        if let Err(reason) = sent {
            tracing::info!(
                attempt_id,
                "LDK did not send an attempt over a given route: {reason}"
            );
            let by_us = AttemptFailure {
                by_receiver: false,
                timed_out: false,
                invalid_payload: false,
                source_index: 0,
                height: self.outbound.height(),
            };
            progress
                .lifecycle
                .failed(attempt_id, Some(by_us), unix_nanos());
            self.store_attempt(&progress, attempt_id);
        }
        self.settle_up(active, &mut progress);
        Ok(attempt_id)
    }

    /// Waits until the attempt has ended and its end is on disk.
    async fn end_of(
        &self,
        active: &Arc<Active>,
        attempt_id: u64,
    ) -> Result<EndedAttempt, SendToRouteError> {
        let mut views = active.view.subscribe();
        loop {
            let seen = views.borrow_and_update().clone();
            let mut attempts = seen.attempts.into_iter();
            let ended =
                |a: &AttemptRecord| a.attempt_id == attempt_id && a.state != AttemptState::InFlight;
            if let Some(attempt) = attempts.find(ended) {
                // Its row is already queued, so this ticket comes after it.
                let ticket = self.store.submit(Vec::new());
                self.store.durable(ticket).await;
                return Ok(EndedAttempt {
                    payment: seen.record,
                    attempt,
                });
            }
            // The sender is owned by `active`.
            let changed = views.changed().await;
            changed.map_err(|_| {
                SendToRouteError::Unfollowed(active.template.identifier.as_hex().to_string())
            })?;
        }
    }
}
