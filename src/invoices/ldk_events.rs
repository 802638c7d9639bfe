//! LDK's events about incoming payments.

use std::collections::BTreeMap;

use lightning::events::{Event, HTLCHandlingFailureType};

use super::inbound_htlcs::Claimable;
use super::registry::Registry;
use crash_points::panics;
use ldk_amp::EnvelopeKey;

impl Registry {
    /// Handles an event of an incoming payment. Returns any other event.
    ///
    /// `key` authenticates the envelopes of AMP shards.
    pub fn handle(&self, key: &EnvelopeKey, event: Event) -> Option<Event> {
        match event {
            Event::PaymentClaimable {
                payment_hash,
                onion_fields,
                amount_msat,
                purpose,
                claim_deadline,
                receiving_channel_ids,
                ..
            } => {
                panics::at(panics::Place::Event);
                let channels = receiving_channel_ids.into_iter();
                let claimable = Claimable {
                    payment_hash,
                    amount_msat,
                    claim_deadline,
                    channels: channels.map(|(channel, _)| channel).collect(),
                    custom_records: BTreeMap::new(),
                };
                self.payment_claimable(key, claimable, onion_fields, &purpose);
            }
            Event::PaymentClaimed { payment_hash, .. } => self.payment_claimed(&payment_hash),
            Event::HTLCHandlingFailed {
                failure_type: HTLCHandlingFailureType::Receive { payment_hash },
                ..
            } => self.htlc_gone(&payment_hash),
            other => return Some(other),
        }
        None
    }
}
