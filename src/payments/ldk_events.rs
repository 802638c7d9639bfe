//! LDK's events about outgoing payments.

use std::sync::Arc;

use lightning::events::Event;

use super::Payments;

impl Payments {
    /// Handles an event of an outgoing payment. Returns any other event.
    pub fn handle(self: &Arc<Self>, event: Event) -> Option<Event> {
        if matches!(
            event,
            Event::PaymentPathSuccessful { .. } | Event::PaymentPathFailed { .. }
        ) {
            // LDK reports these when the HTLC has left the channel.
            self.slots.freed();
        }
        match event {
            Event::PaymentSent {
                payment_id: Some(id),
                payment_preimage,
                ..
            } => self.payment_sent(&id, &payment_preimage),
            Event::PaymentPathFailed {
                payment_id: Some(id),
                payment_failed_permanently,
                failure,
                path,
                short_channel_id,
                ..
            } => self.payment_path_failed(
                &id,
                payment_failed_permanently,
                &failure,
                &path,
                short_channel_id,
            ),
            Event::PaymentFailed { payment_id, .. } => self.payment_failed(&payment_id),
            // The result arrives as PaymentSent; LDK's event loop has updated the scorer.
            Event::PaymentPathSuccessful { .. } => {}
            other => return Some(other),
        }
        None
    }
}
