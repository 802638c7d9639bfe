//! AMP shards: which invoice, which set, and what the set decides.
//!
//! The rules and their order are lnd's, with these differences: a replay is answered before anything
//! else; the invoice of a spontaneous payment is made when its first shard is accepted, not before
//! it is checked; a bad set fails alone; a settled set takes no further HTLC; an invoice past its
//! expiry is refused by our own clock, paid before or not; what we hold for strangers is bounded.

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
    /// Decides about an AMP shard that LDK holds for us, and carries the decision out.
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

    /// Fails a shard that our books do not hold.
    fn refuse(&self, reason: Refusal, hash: &PaymentHash, envelope: &Envelope) {
        reason.log(hash, envelope);
        self.port.fail(hash);
    }
}

#[cfg(test)]
mod tests;
