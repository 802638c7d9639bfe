//! After a start: what was held goes on being held, what was decided is carried out, what LDK no
//! longer has is closed in our books.

use std::collections::HashSet;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::open_sets::{Held, OpenSet};
use super::registry::{Registry, now};
use crate::amp::{AmpRecord, HtlcKey, MppRecord, PaymentAddr, SetId, Share};
use crate::onion::Envelope;
use crate::storage::StorageError;
use crate::storage::invoices::{HtlcRecord, HtlcState, PutHtlc, PutSet, ShardRecord};

impl Registry {
    /// Call it before events flow and before the manager processes blocks: it gives back what is
    /// past its claim deadline.
    ///
    /// # Errors
    /// If the database cannot be read or holds what we did not write.
    pub fn restore(&self) -> Result<(), StorageError> {
        let unresolved = self.store.unresolved_htlcs()?;
        if unresolved.iter().any(|row| row.state == HtlcState::Settled) {
            // Rows may be ahead of the manager: it may have forgotten that it looked at an HTLC.
            self.port.process_pending();
        }
        let present: HashSet<HtlcKey> = self.port.all_incoming().into_iter().collect();
        let mut broken = HashSet::new();
        for row in unresolved {
            let key = key(&row);
            match (row.state, row.preimage) {
                // Claims are idempotent; until PaymentClaimed came this one may not have happened.
                (HtlcState::Settled, Some(preimage)) => self.port.claim(PaymentPreimage(preimage)),
                _ if present.contains(&key) => self.hold_again(row)?,
                _ => {
                    broken.extend(row.shard.as_ref().map(|shard| shard.set_id));
                    self.close(row);
                }
            }
        }
        broken
            .iter()
            .try_for_each(|set_id| self.break_set(set_id))?;
        present.iter().try_for_each(|key| self.fail_again(key))
    }

    /// Fails what our books say was canceled and LDK still holds: it was not told before the crash,
    /// and would hold it until its claim deadline.
    fn fail_again(&self, key: &HtlcKey) -> Result<(), StorageError> {
        let Some(row) = self.store.htlc(&key.channel_id.0, key.htlc_id)? else {
            return Ok(());
        };
        let hash = PaymentHash(row.payment_hash);
        // LDK fails by hash: not if another HTLC has it, too.
        if row.state == HtlcState::Canceled && self.port.incoming(&hash).len() == 1 {
            self.port.fail(&hash);
        }
        Ok(())
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

    fn hold_again(&self, row: HtlcRecord) -> Result<(), StorageError> {
        let damaged = || StorageError::Damaged(format!("HTLC {} of an AMP set", row.htlc_id));
        let shard = row.shard.as_ref().ok_or_else(damaged)?;
        let invoice = self.store.invoice(row.add_index)?.ok_or_else(damaged)?;
        let addr = PaymentAddr::from_bytes(invoice.payment_addr);
        let envelope = envelope(&row, shard, addr).ok_or_else(damaged)?;
        let held = Held { row, envelope };
        self.ledger().open.restore(invoice, held, self.limits.set);
        Ok(())
    }

    fn close(&self, mut row: HtlcRecord) {
        tracing::info!(htlc_id = row.htlc_id, "an HTLC that was held is gone");
        row.state = HtlcState::Canceled;
        row.resolved_at = Some(now());
        self.store.submit(PutHtlc(row));
    }
}

fn key(row: &HtlcRecord) -> HtlcKey {
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
