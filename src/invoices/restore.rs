//! After a start: what was held goes on being held, what was decided is carried out, what LDK no
//! longer has is closed in our books, what we gave back goes back.

use std::collections::{BTreeMap, HashMap, HashSet};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::open_sets::{Held, OpenSet};
use super::registry::{Registry, now};
use ldk_amp::{AmpRecord, HtlcKey, MppRecord, PaymentAddr, SetId, Share};
use ldk_amp::Envelope;
use crate::storage::StorageError;
use crate::storage::invoices::{HtlcRecord, HtlcState, PutHtlc, PutSet, ShardRecord};

impl Registry {
    /// Call it before events flow and before the manager processes blocks: it gives back what is
    /// past its claim deadline.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn restore(&self) -> Result<(), StorageError> {
        let unresolved = self.store.unresolved_htlcs()?;
        if unresolved.iter().any(|row| row.state == HtlcState::Settled) {
            // Rows may be ahead of the manager: it may have forgotten that it looked at an HTLC.
            self.port.process_pending();
        }
        let present: HashSet<HtlcKey> = self.port.all_incoming().into_iter().collect();
        self.give_back_again(&present)?;
        let mut broken = HashSet::new();
        let mut held: BTreeMap<u64, Vec<HtlcRecord>> = BTreeMap::new();
        for row in unresolved {
            let key = key(&row);
            match (row.state, row.preimage) {
                (HtlcState::Settled, Some(preimage)) => {
                    self.claim_again(&row, PaymentPreimage(preimage), present.contains(&key));
                }
                _ if row.shard.is_none() => held.entry(row.add_index).or_default().push(row),
                _ if present.contains(&key) => {
                    broken.extend(self.hold_again(row)?);
                }
                _ => {
                    broken.extend(row.shard.as_ref().map(|shard| shard.set_id));
                    self.close(row);
                }
            }
        }
        for (add_index, htlcs) in held {
            self.hold_payment_again(add_index, htlcs, |key| present.contains(key))?;
        }
        broken.iter().try_for_each(|set_id| self.break_set(set_id))
    }

    /// Claims are idempotent; until PaymentClaimed came this one may not have happened. It has if the
    /// HTLC is gone: then LDK may have a second payment to this hash, which is not ours to claim.
    fn claim_again(&self, row: &HtlcRecord, preimage: PaymentPreimage, is_present: bool) {
        let hash = PaymentHash(row.payment_hash);
        let is_on_chain = || self.is_closed(row) && self.port.incoming(&hash).is_empty();
        if is_present || is_on_chain() {
            self.port.claim(preimage);
        }
    }

    /// Whether the HTLC's channel was closed. What LDK holds on it, it still holds, and claims it on
    /// the chain.
    pub(super) fn is_closed(&self, row: &HtlcRecord) -> bool {
        self.port.scid(&ChannelId(row.channel_id)) == 0
    }

    /// Rows may be ahead of LDK: what we canceled it may still hold, and no event tells of it again.
    /// It would stay in its channel until its claim deadline.
    fn give_back_again(&self, present: &HashSet<HtlcKey>) -> Result<(), StorageError> {
        let mut canceled: HashMap<[u8; 32], usize> = HashMap::new();
        for key in present {
            if let Some(hash) = self.gave_back(key)? {
                *canceled.entry(hash).or_default() += 1;
            }
        }
        for (hash, count) in canceled {
            let hash = PaymentHash(hash);
            // LDK fails by hash: what else has it would go back, too. That may have come while we were
            // down: its set would be settled without it, since the event that it is here comes first.
            if self.port.incoming(&hash).len() == count {
                self.port.fail(&hash);
            }
        }
        Ok(())
    }

    /// The payment hash of this HTLC, if we gave it back.
    pub(super) fn gave_back(&self, key: &HtlcKey) -> Result<Option<[u8; 32]>, StorageError> {
        match self.store.htlc(&key.channel_id.0, key.htlc_id)? {
            Some(row) => Ok((row.state == HtlcState::Canceled).then_some(row.payment_hash)),
            None => self.store.given_back(&key.channel_id.0, key.htlc_id),
        }
    }

    /// A set that lost an HTLC is canceled until another one comes, as when one times out.
    fn break_set(&self, set_id: &[u8; 32]) -> Result<(), StorageError> {
        let Some(mut set) = self.store.set(set_id)? else {
            return Ok(());
        };
        if set.state == HtlcState::Accepted {
            let ledger = self.ledger();
            let open = ledger.open.get(&SetId::from_bytes(*set_id));
            set.amt_paid_msat = open.map_or(0, OpenSet::amount_msat);
            set.state = HtlcState::Canceled;
            self.store.submit(PutSet(set));
        }
        Ok(())
    }

    /// Returns the set that lost the HTLC, if its row is damaged.
    fn hold_again(&self, row: HtlcRecord) -> Result<Option<[u8; 32]>, StorageError> {
        let invoice = self.store.invoice(row.add_index)?;
        let set_id = row.shard.as_ref().map(|shard| shard.set_id);
        let (Some(invoice), Some(shard)) = (invoice, &row.shard) else {
            self.give_up_damaged(row, "its invoice is missing");
            return Ok(set_id);
        };
        let addr = PaymentAddr::from_bytes(invoice.payment_addr);
        let Some(envelope) = envelope(&row, shard, addr) else {
            self.give_up_damaged(row, "its ephemeral key is invalid");
            return Ok(set_id);
        };
        let held = Held { row, envelope };
        self.ledger().open.restore(invoice, held, self.limits.set);
        Ok(None)
    }

    /// An HTLC that is held by a row which makes no sense goes back, and the node starts.
    pub(super) fn give_up_damaged(&self, row: HtlcRecord, what: &str) {
        let hash = PaymentHash(row.payment_hash);
        tracing::error!(
            %hash,
            htlc_id = row.htlc_id,
            add_index = row.add_index,
            "the row of a held HTLC is damaged ({what}): the HTLC is failed"
        );
        self.port.fail(&hash);
        self.close(row);
    }

    fn close(&self, mut row: HtlcRecord) {
        tracing::info!(htlc_id = row.htlc_id, "an HTLC that was held is gone");
        row.cancel(now());
        self.store.submit(PutHtlc(row));
    }
}

pub(super) fn key(row: &HtlcRecord) -> HtlcKey {
    HtlcKey {
        channel_id: ChannelId(row.channel_id),
        htlc_id: row.htlc_id,
    }
}

fn envelope(row: &HtlcRecord, shard: &ShardRecord, payment_addr: PaymentAddr) -> Option<Envelope> {
    Some(Envelope {
        mpp: Some(MppRecord {
            payment_addr,
            total_msat: row.total_msat,
        }),
        amp: AmpRecord {
            share: Share::from_bytes(shard.share),
            set_id: SetId::from_bytes(shard.set_id),
            child_index: shard.child_index,
        },
        channel_id: ChannelId(row.channel_id),
        htlc_id: row.htlc_id,
        cltv_expiry: row.expiry_height,
        ephemeral_key: PublicKey::from_slice(&shard.ephemeral_key).ok()?,
        hidden: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
