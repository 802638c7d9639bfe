//! An HTLC that LDK tells us of again, after a restart: it gets the answer that it got before.

use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::Refusal;
use crate::invoices::ledger::Ledger;
use crate::invoices::registry::Registry;
use ldk_amp::Envelope;
use crate::storage::invoices::HtlcState;

/// What was decided about an HTLC before.
pub(super) enum Replay {
    /// It is held on, with the time at which it first came.
    Held,
    Settled(PaymentPreimage),
    Canceled,
}

impl Registry {
    /// The answer that this HTLC got before, if we know it. To be asked before all rules: some of
    /// them (the height, the clock) may refuse now what was settled then.
    pub(super) fn replay(
        &self,
        ledger: &Ledger,
        envelope: &Envelope,
    ) -> Result<Option<Replay>, Refusal> {
        let key = envelope.key();
        if ledger.open.holds(&envelope.amp.set_id, &key) {
            return Ok(Some(Replay::Held));
        }
        // One that was restored, and whose set was completed before LDK told of it again.
        if let Some(preimage) = ledger.settled.get(&key) {
            return Ok(Some(Replay::Settled(*preimage)));
        }
        let row = self.store.htlc(&key.channel_id.0, key.htlc_id)?;
        let replay = row.map(|row| match (row.state, row.preimage) {
            (HtlcState::Settled, Some(preimage)) => Replay::Settled(PaymentPreimage(preimage)),
            _ => Replay::Canceled,
        });
        if replay.is_some() {
            return Ok(replay);
        }
        let deleted = self.store.given_back(&key.channel_id.0, key.htlc_id)?;
        Ok(deleted.map(|_| Replay::Canceled))
    }

    pub(super) fn answer_again(&self, replay: Replay, hash: &PaymentHash, envelope: &Envelope) {
        match replay {
            Replay::Held => {}
            Replay::Settled(preimage) => self.port.claim(preimage),
            Replay::Canceled => self.refuse(Refusal::ReplayToCanceled, hash, envelope),
        }
    }
}
