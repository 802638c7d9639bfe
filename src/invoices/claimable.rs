//! Dispatching `Event::PaymentClaimable` by kind of payment.

use lightning::events::PaymentPurpose;
use lightning::ln::channelmanager::RecipientOnionFields;

use super::decision::{Answer, Decision};
use super::inbound_htlcs::Claimable;
use super::registry::Registry;
use ldk_amp::{Envelope, EnvelopeKey};

impl Registry {
    /// Handles a payment that LDK reports as claimable. AMP shards arrive here too, each as a
    /// payment of its own, and are recognized by the envelope that the gateway added.
    ///
    /// The sender's records are moved from the onion into `claimable`.
    pub fn payment_claimable(
        &self,
        key: &EnvelopeKey,
        mut claimable: Claimable,
        onion: Option<RecipientOnionFields>,
        purpose: &PaymentPurpose,
    ) {
        let tlvs = onion
            .as_ref()
            .map(|fields| fields.custom_tlvs().as_slice())
            .unwrap_or_default();
        let envelope = Envelope::open(key, &claimable.payment_hash, tlvs);
        let records = match &envelope {
            Some(envelope) => envelope.custom_records(tlvs),
            None => tlvs.to_vec(),
        };
        claimable.custom_records = records.into_iter().collect();
        match (envelope, purpose) {
            (Some(envelope), _) => self.accept_amp(&claimable, &envelope),
            (None, PaymentPurpose::Bolt11InvoicePayment { .. }) => self.accept_bolt11(claimable),
            (None, PaymentPurpose::SpontaneousPayment(preimage)) => {
                let secret = onion.and_then(|fields| fields.payment_secret);
                self.accept_keysend(claimable, *preimage, secret);
            }
            // We create no offers and no refunds.
            (
                None,
                PaymentPurpose::Bolt12OfferPayment { .. }
                | PaymentPurpose::Bolt12RefundPayment { .. },
            ) => self.carry_out_alone(Decision::answer(Answer::Fail(claimable.payment_hash))),
        }
    }
}
