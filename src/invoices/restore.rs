//! Reconciles the database with LDK at startup: keeps holding accepted HTLCs, repeats claims and
//! failures, and closes the rows of HTLCs that LDK no longer has.

use std::collections::{BTreeMap, HashMap, HashSet};

use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::amp_sets::{Held, OpenSet};
use super::decision::{Answer, Decision};
use super::registry::Registry;
use crate::clock::unix_seconds;
use crate::model::htlc::{HtlcRecord, HtlcState, ShardRecord};
use crate::storage::StorageError;
use crate::storage::invoices::{PutHtlc, PutSet};
use ldk_amp::Envelope;
use ldk_amp::{AmpRecord, HtlcKey, MppRecord, PaymentAddr, SetId, Share};

impl Registry {
    /// Restores the state. Call it before LDK events are handled and before the channel manager
    /// processes blocks, which makes it fail HTLCs past their claim deadline.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn restore(&self) -> Result<(), StorageError> {
        let unresolved = self.store.unresolved_htlcs()?;
        if unresolved.iter().any(|row| row.state == HtlcState::Settled) {
            // Rows may be newer than the manager, which may not have processed an HTLC yet.
            self.inbound.process_pending();
        }
        let present: HashSet<HtlcKey> = self.inbound.all_incoming().into_iter().collect();
        self.fail_back_again(&present)?;
        let mut broken = HashSet::new();
        let mut held: BTreeMap<u64, Vec<HtlcRecord>> = BTreeMap::new();
        for row in unresolved {
            let key = row.key();
            match (row.state, row.preimage) {
                (HtlcState::Settled, Some(preimage)) => {
                    self.claim_again(&row, preimage, present.contains(&key));
                }
                _ if row.shard.is_none() => held.entry(row.add_index).or_default().push(row),
                _ if present.contains(&key) => {
                    broken.extend(self.hold_again(row)?);
                }
                _ => {
                    broken.extend(row.shard.as_ref().map(|shard| shard.set_id));
                    self.carry_out_alone(close(row));
                }
            }
        }
        for (add_index, htlcs) in held {
            self.hold_payment_again(add_index, htlcs, |key| present.contains(key))?;
        }
        broken.iter().try_for_each(|set_id| self.break_set(set_id))
    }

    /// Repeats a claim. Claims are idempotent, and this one may not have happened as long as
    /// PaymentClaimed has not arrived. If the HTLC is gone, it has happened; LDK may then have a
    /// second payment with this hash, which must not be claimed.
    fn claim_again(&self, row: &HtlcRecord, preimage: PaymentPreimage, is_present: bool) {
        let hash = row.payment_hash;
        let is_on_chain = || self.is_closed(row) && self.inbound.incoming(&hash).is_empty();
        if is_present || is_on_chain() {
            self.carry_out_alone(Decision::answer(Answer::Claim(preimage)));
        }
    }

    /// Returns whether the HTLC's channel was closed. LDK keeps the HTLCs of a closed channel and
    /// claims them on chain.
    pub(super) fn is_closed(&self, row: &HtlcRecord) -> bool {
        self.inbound.scid(&row.channel_id) == 0
    }

    /// Rows may be newer than LDK's state: it may still hold an HTLC that we canceled. No event
    /// reports it again, so it would stay in its channel until its claim deadline.
    fn fail_back_again(&self, present: &HashSet<HtlcKey>) -> Result<(), StorageError> {
        let mut canceled: HashMap<PaymentHash, usize> = HashMap::new();
        for key in present {
            if let Some(hash) = self.failed_back_hash(key)? {
                *canceled.entry(hash).or_default() += 1;
            }
        }
        for (hash, count) in canceled {
            // LDK fails by hash, which would include any other HTLC with this hash. One may have
            // arrived while the node was down, and its set would then settle without it, because
            // its event comes first.
            if self.inbound.incoming(&hash).len() == count {
                self.carry_out_alone(Decision::answer(Answer::Fail(hash)));
            }
        }
        Ok(())
    }

    /// Returns the payment hash of this HTLC if we failed it back.
    pub(super) fn failed_back_hash(
        &self,
        key: &HtlcKey,
    ) -> Result<Option<PaymentHash>, StorageError> {
        match self.store.htlc(key)? {
            Some(row) => Ok((row.state == HtlcState::Canceled).then_some(row.payment_hash)),
            None => self.store.failed_back(key),
        }
    }

    /// Cancels a set that lost an HTLC, until another one arrives, as after a timeout.
    fn break_set(&self, set_id: &SetId) -> Result<(), StorageError> {
        let Some(mut set) = self.store.set(set_id)? else {
            return Ok(());
        };
        if set.state == HtlcState::Accepted {
            let mut state = self.state();
            let open = state.open.get(set_id);
            set.amt_paid_msat = open.map_or(0, OpenSet::amount_msat);
            set.state = HtlcState::Canceled;
            let canceled = Decision::default().and_row(PutSet(set)).urgently();
            self.carry_out(&mut state, canceled);
        }
        Ok(())
    }

    /// Holds an HTLC again. If its row is damaged, returns the set that lost it.
    fn hold_again(&self, row: HtlcRecord) -> Result<Option<SetId>, StorageError> {
        let invoice = self.store.invoice(row.add_index)?;
        let set_id = row.shard.as_ref().map(|shard| shard.set_id);
        let (Some(invoice), Some(shard)) = (invoice, &row.shard) else {
            self.give_up_damaged(row, "its invoice is missing");
            return Ok(set_id);
        };
        let Some(envelope) = envelope(&row, shard, invoice.payment_addr) else {
            self.give_up_damaged(row, "its ephemeral key is invalid");
            return Ok(set_id);
        };
        let held = Held { row, envelope };
        self.state().open.restore(invoice, held, self.limits.set);
        Ok(None)
    }

    /// Fails a held HTLC whose row is damaged, so that the node can start.
    pub(super) fn give_up_damaged(&self, row: HtlcRecord, what: &str) {
        let hash = row.payment_hash;
        tracing::error!(
            %hash,
            htlc_id = row.htlc_id,
            add_index = row.add_index,
            "failing a held HTLC because its row is damaged: {what}"
        );
        self.carry_out_alone(close(row).and_answer(Answer::Fail(hash)));
    }
}

/// Closes the row of an HTLC that is no longer held.
fn close(mut row: HtlcRecord) -> Decision {
    tracing::info!(htlc_id = row.htlc_id, "held HTLC is gone");
    row.cancel(unix_seconds());
    Decision::default().and_row(PutHtlc(row)).urgently()
}

fn envelope(row: &HtlcRecord, shard: &ShardRecord, payment_addr: PaymentAddr) -> Option<Envelope> {
    Some(Envelope {
        mpp: Some(MppRecord {
            payment_addr,
            total_msat: row.total_msat,
        }),
        amp: AmpRecord {
            share: Share::from_bytes(shard.share),
            set_id: shard.set_id,
            child_index: shard.child_index,
        },
        channel_id: row.channel_id,
        htlc_id: row.htlc_id,
        cltv_expiry: row.expiry_height,
        ephemeral_key: PublicKey::from_slice(&shard.ephemeral_key).ok()?,
        hidden: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
