//! Accepting AMP shards: find the invoice and the set, check the rules, and carry out the set's
//! decision.
//!
//! The rules and their order are lnd's, with these differences: replays are answered first; the
//! invoice of a spontaneous payment is created when its first shard is accepted, not before it is
//! checked; an invalid set fails alone; a settled set accepts no further HTLC; an expired invoice
//! is refused by our clock, whether or not it was paid before; and the HTLCs held for unknown
//! payers are limited.

mod collect;
mod refusal;
mod replay;
mod rules;
mod spontaneous;

use lightning_types::payment::PaymentHash;

pub(super) use self::refusal::Refusal;
pub(super) use self::rules::FINAL_CLTV_REJECT_DELTA;
use super::ledger::Ledger;
use super::port::Claimable;
use super::registry::Registry;
use crash_points::Point;
use ldk_amp::Envelope;

impl Registry {
    /// Decides about an AMP shard that LDK reports as claimable, and carries the decision out.
    pub fn accept_amp(&self, claimable: Claimable, envelope: Envelope) {
        crash_points::at(Point::BeforeStored);
        let mut ledger = self.ledger();
        if let Err(reason) = self.decide(&mut ledger, &claimable, &envelope) {
            self.refuse(reason, &claimable.payment_hash, &envelope);
        }
    }

    fn decide(
        &self,
        ledger: &mut Ledger,
        claimable: &Claimable,
        envelope: &Envelope,
    ) -> Result<(), Refusal> {
        if let Some(replay) = self.replay(ledger, envelope)? {
            self.answer_again(replay, &claimable.payment_hash, envelope);
            return Ok(());
        }
        let shard = self.check(ledger, claimable, envelope)?;
        self.collect(ledger, shard);
        Ok(())
    }

    /// Fails a shard that has no row.
    fn refuse(&self, reason: Refusal, hash: &PaymentHash, envelope: &Envelope) {
        reason.log(hash, envelope);
        self.port.fail(hash);
    }
}

#[cfg(test)]
mod tests;
