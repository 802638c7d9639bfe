//! Accepting AMP shards: find the invoice and the set, check the rules, and carry out the set's
//! decision.
//!
//! The rules and their order are lnd's, with these differences: replays are answered first; the
//! invoice of a spontaneous payment is created when its first shard is accepted, not before it is
//! checked; an invalid set fails alone; a settled set accepts no further HTLC; an expired invoice
//! is refused by our clock, whether or not it was paid before; and the HTLCs held for unknown
//! payers are limited.

mod collect;
mod replay;
mod rules;
mod spontaneous;

pub(super) use self::spontaneous::FINAL_CLTV_REJECT_DELTA;
use super::amp_refusal::Refusal;
use super::decision::Decision;
use super::inbound_htlcs::Claimable;
use super::registry::Registry;
use super::state::State;
use crash_points::Point;
use ldk_amp::Envelope;

impl Registry {
    /// Decides about an AMP shard that LDK reports as claimable, and carries the decision out.
    pub fn accept_amp(&self, claimable: &Claimable, envelope: &Envelope) {
        crash_points::at(Point::BeforeStored);
        let mut state = self.state();
        let decided = self.decide(&mut state, claimable, envelope);
        let decision = decided.unwrap_or_else(|reason| {
            Decision::answer(reason.answer(&claimable.payment_hash, envelope.clone()))
        });
        self.carry_out(&mut state, decision);
    }

    fn decide(
        &self,
        state: &mut State,
        claimable: &Claimable,
        envelope: &Envelope,
    ) -> Result<Decision, Refusal> {
        if let Some(replay) = self.replay(state, envelope)? {
            return replay.answer();
        }
        let shard = self.check(state, claimable, envelope)?;
        Ok(self.collect(state, shard))
    }
}

#[cfg(test)]
mod tests;
