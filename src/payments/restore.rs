//! Resuming payments after a restart: reconciles attempts with LDK's state, then continues.

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::hex::DisplayHex;
use lightning::ln::channelmanager::PaymentId;

use super::active::{Active, Recipient};
use super::lifecycle::Lifecycle;
use super::registry::Payments;
use super::{hints, ids};
use crate::clock::{unix_nanos, unix_seconds};
use crate::invoices::decode::DecodedInvoice;
use crate::model::attempt::AttemptState;
use crate::model::payment::{FailureReason, PaymentRecord};
use crate::storage::StorageError;
use crate::sync::lock;

/// Seconds after startup during which "no route" may mean that channels are not usable yet.
const STARTUP_GRACE_SECONDS: u64 = 30;

impl Payments {
    /// Restores payments in flight. Call it before LDK events are handled, and [`Payments::resume`]
    /// after that.
    ///
    /// An attempt in flight that LDK does not know was never sent, or its failure event is about to
    /// follow. In both cases its amount is open again and is sent with another payment hash, or at
    /// least another payment id.
    ///
    /// A payment whose row is damaged makes no more attempts: it fails, and the node starts.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn restore(self: &Arc<Self>) -> Result<Vec<[u8; 32]>, StorageError> {
        let known: HashSet<PaymentId> = self.outbound.known().into_iter().collect();
        let mut identifiers = Vec::new();
        for record in self.store.payments_in_flight()? {
            let identifier = record.identifier;
            let recipient = recipient(&record);
            let attempts = self.store.attempts(record.payment_index)?;
            let mut lifecycle = Lifecycle::restore(record, attempts);
            let recipient =
                recipient.unwrap_or_else(|what| self.give_up_damaged(&mut lifecycle, what));
            let active = Active::new(
                lifecycle,
                recipient,
                unix_seconds() + STARTUP_GRACE_SECONDS,
                &self.followers,
            );
            self.fail_unsent(&active, &known);
            self.adopt(identifier, active);
            identifiers.push(identifier);
        }
        Ok(identifiers)
    }

    /// Fails the attempts in flight that LDK does not know: they were stored, but never sent.
    fn fail_unsent(&self, active: &Active, known: &HashSet<PaymentId>) {
        let mut progress = lock(&active.progress);
        let attempts = progress.lifecycle.attempts.iter();
        let unsent: Vec<u64> = attempts
            .filter(|a| a.state == AttemptState::InFlight)
            .filter(|a| !known.contains(&ids::payment_id(a)))
            .map(|a| a.attempt_id)
            .collect();
        for attempt_id in unsent {
            progress.lifecycle.failed(attempt_id, None, unix_nanos());
            self.store_attempt(&progress, attempt_id);
        }
    }

    /// Stops further attempts of a payment with a damaged row. Attempts in flight still end, and
    /// the payment with them.
    fn give_up_damaged(&self, lifecycle: &mut Lifecycle, what: &str) -> Recipient {
        tracing::error!(
            payment = lifecycle.record.payment_index,
            identifier = %lifecycle.record.identifier.to_lower_hex_string(),
            "failing a stored payment because it is damaged ({what}); attempts in flight finish first"
        );
        lifecycle.give_up(FailureReason::Error);
        // Not used: no attempt will be sent.
        Recipient {
            destination: self.outbound.our_node_id(),
            payment_addr: None,
            metadata: None,
            route_hints: Vec::new(),
        }
    }

    /// Continues restored payments: sends attempts for the open amount, or ends those without any.
    pub fn resume(self: &Arc<Self>, identifiers: Vec<[u8; 32]>) {
        for identifier in identifiers {
            self.spawn_advance(identifier);
        }
    }
}

/// The recipient of a stored payment.
///
/// # Errors
///
/// The part of the row that cannot be read.
fn recipient(record: &PaymentRecord) -> Result<Recipient, &'static str> {
    let terms = &record.terms;
    let mut route_hints = hints::from_records(&terms.route_hints).ok_or("its route hints")?;
    let mut metadata = None;
    if !terms.payment_request.is_empty() {
        let invoice = terms.payment_request.parse::<DecodedInvoice>();
        let invoice = invoice.map_err(|_| "its payment request")?;
        metadata = invoice.payment_metadata;
        route_hints.extend(invoice.route_hints);
    }
    if record.root.is_some() && terms.payment_addr.is_none() {
        return Err("no payment address");
    }
    Ok(Recipient {
        destination: terms.destination.ok_or("its destination")?,
        payment_addr: terms.payment_addr,
        metadata,
        route_hints,
    })
}
