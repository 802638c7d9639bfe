//! Moving a payment on: routes for what is open, attempts over them, and its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bitcoin::hex::DisplayHex;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::routing::router::Path;

use super::flow::{Ending, NewAttempt, Open, ShardRandomness, Step};
use super::ids;
use super::outbound::RouteQuestion;
use super::send::{Active, Payments, Recipe, Running, lock, now, now_ns, view};
use super::view::PaymentView;
use crate::amp::{AmpRecord, MppRecord, PaymentAddr, SetId, Share};
use crate::onion;
use crate::storage::payments::{FailureReason, HopRecord, PaymentState, PutAttempt, PutPayment};

/// Between two tries while channels are not usable yet.
const PATIENCE_PAUSE: Duration = Duration::from_millis(500);

impl Payments {
    /// Route finding takes its time: it has no place in an event handler or on the runtime.
    pub(super) fn spawn_advance(self: &Arc<Self>, identifier: [u8; 32]) {
        let payments = self.clone();
        self.runtime
            .spawn_blocking(move || payments.advance(&identifier));
    }

    /// Once, however many attempts have failed meanwhile.
    fn spawn_advance_later(self: &Arc<Self>, active: &Arc<Active>, running: &mut Running) {
        if std::mem::replace(&mut running.is_pausing, true) {
            return;
        }
        let (payments, active) = (self.clone(), active.clone());
        self.runtime.spawn(async move {
            tokio::time::sleep(PATIENCE_PAUSE).await;
            lock(&active.running).is_pausing = false;
            payments.spawn_advance(active.recipe.identifier);
        });
    }

    /// Does what is to be done for the payment: sends what is open, or notes its end.
    ///
    /// One at a time for each payment. The state is not locked while routes are searched, so that
    /// event handlers need not wait; what they changed meanwhile makes the search begin again.
    fn advance(self: &Arc<Self>, identifier: &[u8; 32]) {
        let Some(active) = self.active(identifier) else {
            return;
        };
        let _turn = lock(&active.turn);
        loop {
            let (open, failed_channels) = {
                let mut running = lock(&active.running);
                match running.flow.step(now()) {
                    Step::Send(open) => (open, running.failed_channels.clone()),
                    Step::Wait | Step::End(_) => return self.settle_up(&active, &mut running),
                }
            };
            let found = self.find_paths(&active.recipe, open, &failed_channels);
            let mut running = lock(&active.running);
            if running.flow.step(now()) != Step::Send(open) {
                continue;
            }
            match found.and_then(not_empty) {
                Ok(paths) => self.send_paths(&active, &mut running, paths),
                Err(FailureReason::NoRoute | FailureReason::InsufficientBalance)
                    if is_patient(&running) =>
                {
                    // What failed a moment ago may work again: a peer that was away, for one.
                    running.failed_channels.clear();
                    return self.spawn_advance_later(&active, &mut running);
                }
                Err(reason) => running.flow.give_up(reason),
            }
        }
    }

    fn find_paths(
        &self,
        recipe: &Recipe,
        open: Open,
        failed_channels: &[u64],
    ) -> Result<Vec<Path>, FailureReason> {
        // The largest record 14 there is: the child index is not known yet (as in lnd).
        let sample = recipe.is_amp.then_some((Share::ZERO, u32::MAX));
        let onion = onion_fields(recipe, sample).ok_or(FailureReason::Error)?;
        self.outbound.find_paths(&RouteQuestion {
            destination: recipe.recipient.destination,
            open,
            terms: &recipe.terms,
            route_hints: &recipe.recipient.route_hints,
            onion: &onion,
            failed_channels,
        })
    }

    fn send_paths(&self, active: &Arc<Active>, running: &mut Running, paths: Vec<Path>) {
        let height = self.outbound.height();
        for path in paths {
            let attempt_id = self.next_attempt.fetch_add(1, Ordering::Relaxed);
            let hops = hops(&path, height);
            match running
                .flow
                .attempt(attempt_id, hops, self.shard_randomness(), now_ns())
            {
                Ok(attempt) => self.send_attempt(active, running, path, &attempt),
                Err(error) => {
                    tracing::error!("cannot split the root of a payment: {error}");
                    running.flow.give_up(FailureReason::Error);
                    return;
                }
            }
        }
        active.view.send_replace(view(&running.flow));
    }

    /// First the row, then the HTLC: see the room's description.
    fn send_attempt(
        &self,
        active: &Arc<Active>,
        running: &mut Running,
        path: Path,
        attempt: &NewAttempt,
    ) {
        self.store_attempt(running, attempt.attempt_id);
        let id = ids::of(&attempt.hash.0, attempt.attempt_id);
        self.register(id, active, attempt.attempt_id);
        let sent = onion_fields(&active.recipe, attempt.shard.clone())
            .ok_or_else(|| "the onion cannot be built".to_owned())
            .and_then(|onion| self.outbound.send(path, attempt.hash, onion, id));
        if let Err(reason) = sent {
            tracing::warn!("an attempt was not sent: {reason}");
            running.flow.failed(attempt.attempt_id, None, now_ns());
            running.flow.give_up(FailureReason::Error);
            self.store_attempt(running, attempt.attempt_id);
        }
    }

    /// The HTLC follows, or what it changes in the manager came before.
    pub(super) fn store_attempt(&self, running: &Running, attempt_id: u64) {
        let row = running
            .flow
            .attempts
            .iter()
            .find(|a| a.attempt_id == attempt_id);
        if let Some(row) = row {
            self.store.submit_patiently(PutAttempt(row.clone()));
        }
    }

    /// Notes the end if it is one, and tells those who follow the payment.
    pub(super) fn settle_up(self: &Arc<Self>, active: &Arc<Active>, running: &mut Running) {
        match running.flow.step(now()) {
            Step::End(ending) if running.flow.record.state == PaymentState::InFlight => {
                self.end(active, running, ending);
            }
            Step::End(_) => {}
            Step::Send(_) | Step::Wait => {
                active.view.send_replace(view(&running.flow));
            }
        }
    }

    /// What callers are told of an end is on disk first.
    fn end(self: &Arc<Self>, active: &Arc<Active>, running: &mut Running, ending: Ending) {
        running.flow.end(ending);
        let ticket = self.store.submit(PutPayment(running.flow.record.clone()));
        let view = view(&running.flow);
        log_end(&view);
        let (payments, active) = (self.clone(), active.clone());
        self.runtime.spawn(async move {
            payments.store.durable(ticket).await;
            payments.forget(&active, &view);
            active.view.send_replace(view);
        });
    }

    fn shard_randomness(&self) -> ShardRandomness {
        let [a, b, c, d, ..] = self.outbound.random_bytes();
        let index = u32::from_be_bytes([a, b, c, d]);
        ShardRandomness {
            share: self.outbound.random_bytes(),
            index,
        }
    }
}

/// Whether "no route" may be over in a moment: right after a start, and while shards wait at the
/// receiver. lnd gives such a payment up, and its shards are held for two minutes; a peer that
/// reconnects completes it. The payment's time limit ends the patience.
fn is_patient(running: &Running) -> bool {
    now() < running.patient_until || running.flow.is_in_flight()
}

/// No path at all would be searched for without end.
fn not_empty(paths: Vec<Path>) -> Result<Vec<Path>, FailureReason> {
    if paths.is_empty() {
        Err(FailureReason::NoRoute)
    } else {
        Ok(paths)
    }
}

fn log_end(view: &PaymentView) {
    tracing::info!(
        payment = %view.record.identifier.as_hex(),
        amount_msat = view.record.terms.amount_msat,
        fee_msat = view.fee_msat(),
        state = ?view.record.state,
        reason = ?view.record.failure_reason,
        "payment ended"
    );
}

/// The final hop's records. All attempts carry the payment's whole amount as total, which LDK's own
/// fields cannot say.
fn onion_fields(recipe: &Recipe, shard: Option<(Share, u32)>) -> Option<RecipientOnionFields> {
    let mpp = MppRecord {
        payment_addr: PaymentAddr::from_bytes(recipe.recipient.payment_addr),
        total_msat: recipe.terms.amount_msat,
    };
    let set_id = SetId::from_bytes(recipe.identifier);
    let amp = shard.map(|(share, child_index)| AmpRecord {
        share,
        set_id,
        child_index,
    });
    let metadata = recipe.recipient.metadata.as_deref();
    let custom: Vec<_> = recipe.terms.custom_records.clone().into_iter().collect();
    onion::recipient_fields(&mpp, amp.as_ref(), metadata, &custom)
        .inspect_err(|error| tracing::error!("cannot build an onion: {error}"))
        .ok()
}

/// The path as callers see it, amounts summed up from the end.
fn hops(path: &Path, height: u32) -> Vec<HopRecord> {
    let mut forward = 0u64;
    let mut expiry = height;
    let mut hops: Vec<HopRecord> = Vec::new();
    for (position, hop) in path.hops.iter().rev().enumerate() {
        // LDK puts the delivered amount into the last hop's fee.
        let (fee_msat, cltv_delta) = match position {
            0 => (0, 0),
            _ => (hop.fee_msat, hop.cltv_expiry_delta),
        };
        if position == 0 {
            forward = hop.fee_msat;
            expiry = expiry.saturating_add(hop.cltv_expiry_delta);
        }
        hops.push(HopRecord {
            node_id: hop.pubkey.serialize().to_lower_hex_string(),
            scid: hop.short_channel_id,
            amt_to_forward_msat: forward,
            fee_msat,
            expiry,
            cltv_delta,
        });
        if position > 0 {
            forward = forward.saturating_add(hop.fee_msat);
            expiry = expiry.saturating_add(hop.cltv_expiry_delta);
        }
    }
    hops.reverse();
    hops
}
