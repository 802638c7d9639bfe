//! HTLCs that LDK reports again after a restart get the same answer as before.

use lightning_types::payment::PaymentPreimage;

use crate::invoices::amp_refusal::Refusal;
use crate::invoices::decision::{Answer, Decision};
use crate::invoices::registry::Registry;
use crate::invoices::state::State;
use crate::model::htlc::HtlcState;
use ldk_amp::Envelope;

/// The earlier decision about an HTLC.
pub(super) enum Replay {
    /// Still held; the time of its first arrival counts.
    Held,
    Settled(PaymentPreimage),
    Canceled,
}

impl Registry {
    /// Returns the earlier decision about this HTLC, if there is one. Ask before applying the
    /// rules: some depend on the height or the clock and might now refuse what was settled.
    pub(super) fn replay(
        &self,
        state: &State,
        envelope: &Envelope,
    ) -> Result<Option<Replay>, Refusal> {
        let key = envelope.key();
        if state.open.holds(&envelope.amp.set_id, &key) {
            return Ok(Some(Replay::Held));
        }
        // Restored after a restart, and its set was completed before LDK reported it again.
        if let Some(preimage) = state.settled.get(&key) {
            return Ok(Some(Replay::Settled(*preimage)));
        }
        let row = self.store.htlc(&key)?;
        let replay = row.map(|row| match (row.state, row.preimage) {
            (HtlcState::Settled, Some(preimage)) => Replay::Settled(preimage),
            _ => Replay::Canceled,
        });
        if replay.is_some() {
            return Ok(replay);
        }
        let deleted = self.store.failed_back(&key)?;
        Ok(deleted.map(|_| Replay::Canceled))
    }
}

impl Replay {
    /// Repeats the earlier answer.
    pub(super) fn answer(self) -> Result<Decision, Refusal> {
        match self {
            Self::Held => Ok(Decision::default()),
            Self::Settled(preimage) => Ok(Decision::answer(Answer::Claim(preimage))),
            Self::Canceled => Err(Refusal::ReplayToCanceled),
        }
    }
}
