//! The rules for a shard and its invoice, in the order of lnd's registry
//! (`invoices/invoiceregistry.go`, `update.go`).
//!
//! The numbers count lnd's rules in order: 1 and 5 AMP without MPP, 2 unknown payment address, 6
//! wrong kind of invoice, 7 not open, 9 to 11 the total, 12 and 13 the HTLC's expiry, 14 and 15 the
//! set id. The set itself checks 16 to 18. A replay (4) has been answered before all of them.

use super::spontaneous::{self, FINAL_CLTV_REJECT_DELTA};
use crate::clock::unix_seconds;
use crate::invoices::amp_refusal::Refusal;
use crate::invoices::amp_sets::{Held, OpenSet};
use crate::invoices::inbound_htlcs::Claimable;
use crate::invoices::registry::Registry;
use crate::invoices::state::State;
use crate::model::htlc::{HtlcRecord, HtlcState, ShardRecord};
use crate::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceState};
use ldk_amp::Envelope;
use ldk_amp::{FailReason, MppRecord, SetId};

/// A shard with the invoice that it pays.
pub(super) struct Shard {
    pub(super) held: Held,
    pub(super) invoice: InvoiceRecord,
    /// The invoice was created for this shard and is not stored yet.
    pub(super) is_new_invoice: bool,
}

impl Registry {
    /// Checks a shard and returns it with its invoice.
    pub(super) fn check(
        &self,
        state: &State,
        claimable: &Claimable,
        envelope: &Envelope,
    ) -> Result<Shard, Refusal> {
        let height = self.inbound.height();
        let mpp = envelope.mpp.ok_or(Refusal::AmpError)?; // 1, 5
        let blocks_left = envelope.cltv_expiry.saturating_sub(height);
        if self.limits.accept_amp && blocks_left < FINAL_CLTV_REJECT_DELTA {
            return Err(Refusal::AmpError); // 1
        }
        let (invoice, is_new_invoice) = self.invoice_for(state, claimable, &mpp)?; // 2
        check_open(&invoice, unix_seconds())?; // 6, 7
        let open = state.open.get(&envelope.amp.set_id);
        let ours = open.filter(|open| open.invoice.add_index == invoice.add_index);
        check_total(&invoice, &mpp, ours)?; // 9 to 11
        if blocks_left < invoice.terms.cltv_delta.max(FINAL_CLTV_REJECT_DELTA) {
            return Err(Refusal::ExpiryTooSoon); // 12, 13
        }
        self.check_set_id(state, &invoice, envelope.amp.set_id)?; // 14, 15
        self.check_bounds(state, envelope, claimable.amount_msat, mpp.total_msat)?;
        Ok(Shard {
            held: Held {
                row: self.row(claimable, envelope, &mpp, height),
                envelope: envelope.clone(),
            },
            invoice,
            is_new_invoice,
        })
    }

    /// Returns the invoice with the shard's payment address, or a new one for a spontaneous payment
    /// if we accept those.
    ///
    /// The payment hash is not used to find it, but must not be that of an ordinary invoice of
    /// ours: LDK holds one payment per hash, so a held shard would block payments to that invoice.
    /// The hash of an AMP invoice is only an identifier and does no harm: that of a static invoice
    /// is random; that of a spontaneous payment is the hash of its first shard, which may arrive
    /// again after it timed out.
    fn invoice_for(
        &self,
        state: &State,
        claimable: &Claimable,
        mpp: &MppRecord,
    ) -> Result<(InvoiceRecord, bool), Refusal> {
        let hash = claimable.payment_hash;
        let namesake = self.find_by_hash(state, &hash)?;
        if namesake.as_ref().is_some_and(|other| !other.kind.is_amp()) {
            return Err(Refusal::HtlcInvoiceTypeMismatch);
        }
        match self.find_by_addr(state, &mpp.payment_addr)? {
            // Applies to known payers as well, once spontaneous payments have been disabled.
            Some(invoice)
                if invoice.kind == InvoiceKind::SpontaneousAmp && !self.limits.accept_amp =>
            {
                Err(Refusal::InvoiceNotFound)
            }
            Some(invoice) => Ok((invoice, false)),
            // A new invoice would have the hash of another one. lnd does not create it either.
            None if namesake.is_some() || !self.limits.accept_amp => Err(Refusal::InvoiceNotFound),
            None => Ok((spontaneous::invoice(mpp, hash), true)),
        }
    }

    /// A set id belongs to a single invoice, and a settled set is closed. A canceled set (after a
    /// timeout, for example) may be tried again.
    fn check_set_id(
        &self,
        state: &State,
        invoice: &InvoiceRecord,
        set_id: SetId,
    ) -> Result<(), Refusal> {
        if set_id.is_zero() {
            return Err(FailReason::AmpError.into());
        }
        let known = match state.open.get(&set_id) {
            Some(open) => Some((open.invoice.add_index, HtlcState::Accepted)),
            None => self
                .find_set(state, &set_id)?
                .map(|set| (set.add_index, set.state)),
        };
        match known {
            // A new invoice has no add index yet, so any known set belongs to another one.
            Some((add_index, _)) if add_index != invoice.add_index => Err(Refusal::InvoiceNotFound),
            Some((_, HtlcState::Settled)) => Err(FailReason::HtlcSetSettled.into()),
            _ => Ok(()),
        }
    }

    /// Limits apply only to shards that will be held: a shard that completes its set releases the
    /// held ones. Unknown payers who exhaust the limits therefore cannot block complete payments.
    ///
    /// There is no limit on the sets of one invoice: it would make it cheaper to lock out the other
    /// payers of that invoice, and the limits here already protect all other invoices.
    fn check_bounds(
        &self,
        state: &State,
        envelope: &Envelope,
        amount_msat: u64,
        total_msat: u64,
    ) -> Result<(), Refusal> {
        let open = state.open.get(&envelope.amp.set_id);
        let held_msat = open.map_or(0, OpenSet::amount_msat);
        if held_msat.saturating_add(amount_msat) >= total_msat {
            return Ok(());
        }
        let too_many_sets = open.is_none() && state.open.len() >= self.limits.max_open_sets;
        let held = state.open.held_on(&envelope.channel_id);
        if too_many_sets || held >= self.limits.max_held_per_channel {
            return Err(Refusal::TooMuchHeld);
        }
        Ok(())
    }

    fn row(
        &self,
        claimable: &Claimable,
        envelope: &Envelope,
        mpp: &MppRecord,
        height: u32,
    ) -> HtlcRecord {
        HtlcRecord {
            channel_id: envelope.channel_id,
            htlc_id: envelope.htlc_id,
            add_index: 0,
            payment_hash: claimable.payment_hash,
            scid: self.inbound.scid(&envelope.channel_id),
            amount_msat: claimable.amount_msat,
            total_msat: mpp.total_msat,
            accept_height: height,
            accepted_at: unix_seconds(),
            resolved_at: None,
            expiry_height: envelope.cltv_expiry,
            claim_deadline: claimable.claim_deadline,
            state: HtlcState::Accepted,
            claimed: false,
            custom_records: claimable.custom_records.clone(),
            shard: Some(ShardRecord {
                set_id: envelope.amp.set_id,
                share: envelope.amp.share.to_bytes(),
                child_index: envelope.amp.child_index,
                ephemeral_key: envelope.ephemeral_key.serialize(),
            }),
            preimage: None,
        }
    }
}

/// Rules 6 and 7, and expiry by our clock.
///
/// The reverse of rule 6, an HTLC without an AMP record to an AMP invoice, rarely gets this far:
/// LDK collects ordinary payments itself and fails those whose payment secret is not one it created
/// for the hash, which that of an AMP invoice never is. The remaining case (the hash is that of a
/// spontaneous payment's first shard, and the payer knows its preimage) is refused with the same
/// name in `accept_bolt11`.
fn check_open(invoice: &InvoiceRecord, now: u64) -> Result<(), Refusal> {
    match (invoice.kind, invoice.state) {
        (InvoiceKind::Bolt11 | InvoiceKind::Hold | InvoiceKind::Keysend, _) => {
            Err(Refusal::HtlcInvoiceTypeMismatch)
        }
        _ if invoice.is_expired(now) => Err(Refusal::InvoiceExpired),
        (_, InvoiceState::Open) => Ok(()),
        (_, _) => Err(Refusal::InvoiceNotOpen),
    }
}

/// Rules 9 to 11. The set checks the last one too; here it comes before the expiry rules, as in
/// lnd.
fn check_total(
    invoice: &InvoiceRecord,
    mpp: &MppRecord,
    open: Option<&OpenSet>,
) -> Result<(), Refusal> {
    if mpp.total_msat == 0 || mpp.total_msat < invoice.value_msat {
        return Err(Refusal::HtlcSetTotalTooLow);
    }
    let others = open.and_then(|open| open.set().total_msat());
    if others.is_some_and(|total_msat| total_msat != mpp.total_msat) {
        return Err(FailReason::HtlcSetTotalMismatch.into());
    }
    Ok(())
}
