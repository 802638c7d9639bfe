//! AMP shards: which invoice, which set, and what the set decides.
//!
//! The rules and their order are lnd's (`invoices/invoiceregistry.go`, `update.go`), with these
//! differences: a replay is answered before anything else; the invoice of a spontaneous payment is
//! made when its first shard is accepted, not before it is checked; a bad set fails alone; a settled
//! set takes no further HTLC; what we hold for strangers is bounded.

use std::collections::HashMap;
use std::fmt;

use lightning_types::payment::PaymentHash;

use super::InvoiceView;
use super::ledger::{Ledger, OpenSet};
use super::port::Claimable;
use super::registry::{Registry, now};
use super::subscribe::InvoiceEvent;
use crate::amp::{Claim, FailReason, HtlcRef, HtlcSet, MppRecord, Outcome, SetHtlc, SetId};
use crate::onion::Envelope;
use crate::storage::invoices::{
    HtlcRecord, HtlcState, InvoiceKind, InvoiceRecord, InvoiceState, InvoiceTerms, PutHtlc,
    PutInvoice, PutSet, SetRecord, ShardRecord,
};
use crate::storage::{Change, StorageError, Ticket};

/// Blocks that an HTLC must have left (lnd's `FinalCltvRejectDelta`: 16 to broadcast, 3 to spare);
/// also what lnd shows as the delta of a spontaneous payment.
pub(super) const FINAL_CLTV_REJECT_DELTA: u32 = 19;

/// Why a shard is refused. On the wire all are `incorrect_or_unknown_payment_details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The rules of the set itself.
    Set(FailReason),
    /// No MPP record beside the AMP record.
    AmpError,
    InvoiceNotFound,
    HtlcInvoiceTypeMismatch,
    InvoiceNotOpen,
    HtlcSetTotalTooLow,
    ExpiryTooSoon,
    /// As many incomplete sets as we hold, or HTLCs of such on this channel.
    TooMuchHeld,
    /// The database cannot be read.
    Unavailable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(reason) => write!(f, "{reason}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        tracing::error!("an AMP shard is refused: {error}");
        Self::Unavailable
    }
}

/// A shard with the invoice that it pays.
struct Shard {
    htlc: SetHtlc,
    set_id: SetId,
    invoice: InvoiceRecord,
    /// The invoice was made for it.
    is_new_invoice: bool,
    row: HtlcRecord,
    envelope: Envelope,
}

impl Registry {
    /// Decides about an AMP shard that LDK holds for us, and carries the decision out.
    pub fn accept_amp(&self, claimable: Claimable, envelope: Envelope) {
        let mut ledger = self.ledger();
        if self.answer_replay(&ledger, &claimable.payment_hash, &envelope) {
            return;
        }
        let hash = claimable.payment_hash;
        match self.check(&mut ledger, claimable, envelope) {
            Ok(shard) => self.collect(&mut ledger, shard),
            Err(reason) => {
                tracing::info!(%hash, %reason, "AMP shard refused");
                self.port.fail(&hash);
            }
        }
    }

    /// An HTLC that we know gets the answer that it got before.
    fn answer_replay(&self, ledger: &Ledger, hash: &PaymentHash, envelope: &Envelope) -> bool {
        let key = envelope.key();
        let open = ledger.open.get(&envelope.amp.set_id);
        if open.is_some_and(|set| set.htlcs.contains_key(&key)) {
            return true;
        }
        let row = match self.store.htlc(&key.channel_id.0, key.htlc_id) {
            Ok(Some(row)) => row,
            Ok(None) => return false,
            Err(error) => {
                tracing::error!("an AMP shard is refused: {error}");
                self.port.fail(hash);
                return true;
            }
        };
        match (row.state, row.preimage) {
            (HtlcState::Settled, Some(preimage)) => {
                self.port
                    .claim(lightning_types::payment::PaymentPreimage(preimage));
            }
            _ => self.port.fail(hash),
        }
        true
    }

    /// The rules that concern the invoice.
    fn check(
        &self,
        ledger: &mut Ledger,
        claimable: Claimable,
        envelope: Envelope,
    ) -> Result<Shard, Refusal> {
        let height = self.port.height();
        let mpp = envelope.mpp.ok_or(Refusal::AmpError)?;
        if self
            .store
            .invoice_by_hash(&claimable.payment_hash.0)?
            .is_some()
            || ledger.hashes.get(&claimable.payment_hash.0).is_some()
        {
            // Held, it would block that invoice: LDK has one payment per hash.
            return Err(Refusal::HtlcInvoiceTypeMismatch);
        }
        let found = self.find(ledger, &mpp.payment_addr)?;
        let is_new_invoice = found.is_none();
        let invoice = match found {
            Some(invoice) => invoice,
            None if self.limits.accept_amp => spontaneous(&mpp, claimable.payment_hash),
            None => return Err(Refusal::InvoiceNotFound),
        };
        check_invoice(&invoice, &mpp, envelope.cltv_expiry, height)?;
        self.check_set_id(ledger, &invoice, envelope.amp.set_id, is_new_invoice)?;
        self.check_bounds(ledger, &envelope, claimable.amount_msat, mpp.total_msat)?;
        let row = self.row(&claimable, &envelope, &mpp, height);
        let htlc = set_htlc(&row, &envelope);
        let set_id = envelope.amp.set_id;
        Ok(Shard {
            htlc,
            set_id,
            invoice,
            is_new_invoice,
            row,
            envelope,
        })
    }

    /// A set id is of one invoice only, and a settled set is closed.
    fn check_set_id(
        &self,
        ledger: &Ledger,
        invoice: &InvoiceRecord,
        set_id: SetId,
        is_new_invoice: bool,
    ) -> Result<(), Refusal> {
        let (add_index, settled) = match (ledger.open.get(&set_id), ledger.sets.get(&set_id)) {
            (Some(open), _) => (open.invoice.add_index, false),
            (None, Some(set)) => (set.add_index, set.state == HtlcState::Settled),
            (None, None) => match self.store.set(set_id.as_bytes())? {
                Some(set) => (set.add_index, set.state == HtlcState::Settled),
                None => return Ok(()),
            },
        };
        if is_new_invoice || add_index != invoice.add_index {
            return Err(Refusal::InvoiceNotFound);
        }
        if settled {
            Err(Refusal::Set(FailReason::HtlcSetSettled))
        } else {
            Ok(())
        }
    }

    /// Only what is to be held is bounded: a shard that completes its set frees what we hold, so
    /// strangers who use up the bounds cannot keep others from being paid.
    fn check_bounds(
        &self,
        ledger: &Ledger,
        envelope: &Envelope,
        amount_msat: u64,
        total_msat: u64,
    ) -> Result<(), Refusal> {
        let open = ledger.open.get(&envelope.amp.set_id);
        let held_msat = open.map_or(0, |open| open.set.held_msat());
        if held_msat.saturating_add(amount_msat) >= total_msat {
            return Ok(());
        }
        let too_many_sets = open.is_none() && ledger.open.len() >= self.limits.max_open_sets;
        let held = ledger.held_on(&envelope.channel_id);
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
            channel_id: envelope.channel_id.0,
            htlc_id: envelope.htlc_id,
            add_index: 0,
            payment_hash: claimable.payment_hash.0,
            scid: self.port.scid(&envelope.channel_id),
            amount_msat: claimable.amount_msat,
            total_msat: mpp.total_msat,
            accept_height: height,
            accepted_at: now(),
            resolved_at: None,
            expiry_height: envelope.cltv_expiry,
            claim_deadline: claimable.claim_deadline,
            state: HtlcState::Accepted,
            claimed: false,
            custom_records: claimable.custom_records.clone(),
            shard: Some(ShardRecord {
                set_id: envelope.amp.set_id.to_bytes(),
                share: envelope.amp.share.to_bytes(),
                child_index: envelope.amp.child_index,
                ephemeral_key: envelope.ephemeral_key.serialize(),
            }),
            preimage: None,
        }
    }

    /// Puts the shard into its set and carries out what the set decides.
    fn collect(&self, ledger: &mut Ledger, mut shard: Shard) {
        if shard.is_new_invoice {
            shard.invoice.add_index = ledger.next_add_index();
        }
        shard.row.add_index = shard.invoice.add_index;
        let limits = self.limits.set;
        let open = ledger.open.entry(shard.set_id).or_insert_with(|| OpenSet {
            invoice: shard.invoice.clone(),
            set: HtlcSet::new(shard.set_id, limits),
            htlcs: HashMap::new(),
        });
        let key = shard.htlc.key;
        let hash = shard.htlc.payment_hash;
        open.htlcs.insert(key, (shard.row, shard.envelope));
        let outcome = open.set.accept(shard.htlc, self.port.height());
        if let Outcome::Fail { reason, htlcs } = &outcome {
            tracing::info!(%hash, %reason, set_id = %shard.set_id, "AMP set or shard refused");
            self.fail(ledger, shard.set_id, htlcs, key);
            return;
        }
        let new_invoice = shard.is_new_invoice.then_some(shard.invoice);
        match outcome {
            Outcome::Settle(claims) => self.settle(ledger, shard.set_id, &claims, new_invoice),
            _ => self.hold(ledger, shard.set_id, &key, new_invoice),
        }
    }

    fn hold(
        &self,
        ledger: &mut Ledger,
        set_id: SetId,
        key: &crate::amp::HtlcKey,
        new_invoice: Option<InvoiceRecord>,
    ) {
        let Some(open) = ledger.open.get(&set_id) else {
            return;
        };
        let mut changes = invoice_change(new_invoice.as_ref());
        changes.push(Box::new(PutSet(set_row(open, HtlcState::Accepted, None))));
        if let Some((row, _)) = open.htlcs.get(key) {
            changes.push(Box::new(PutHtlc(row.clone())));
        }
        let ticket = self.store.submit(changes);
        self.remember_new(ledger, new_invoice, ticket);
        self.timer.notify_one();
    }

    /// The rows first, then the claims: see the room's description.
    fn settle(
        &self,
        ledger: &mut Ledger,
        set_id: SetId,
        claims: &[Claim],
        new_invoice: Option<InvoiceRecord>,
    ) {
        let Some(mut open) = ledger.open.remove(&set_id) else {
            return;
        };
        let settle_index = ledger.next_settle_index();
        let now = now();
        for claim in claims {
            if let Some((row, _)) = open.htlcs.get_mut(&claim.key) {
                row.state = HtlcState::Settled;
                row.resolved_at = Some(now);
                row.preimage = Some(claim.preimage.0);
            }
        }
        let set = set_row(&open, HtlcState::Settled, Some((settle_index, now)));
        let rows: Vec<HtlcRecord> = open.htlcs.into_values().map(|(row, _)| row).collect();
        let mut changes = invoice_change(new_invoice.as_ref());
        changes.push(Box::new(PutSet(set.clone())));
        changes.extend(
            rows.iter()
                .map(|row| Box::new(PutHtlc(row.clone())) as Box<dyn Change>),
        );
        let ticket = self.store.submit(changes);
        for claim in claims {
            self.port.claim(claim.preimage);
        }
        tracing::info!(%set_id, shards = rows.len(), amount_msat = set.amt_paid_msat, "AMP set settled");
        ledger.sets.insert(&self.store, set_id, set.clone(), ticket);
        self.remember_new(ledger, new_invoice, ticket);
        let record = open.invoice;
        let view = InvoiceView {
            record,
            htlcs: rows,
            sets: vec![set],
        };
        self.announce(ticket, InvoiceEvent::Settled(view));
    }

    fn remember_new(&self, ledger: &mut Ledger, new: Option<InvoiceRecord>, ticket: Ticket) {
        if let Some(invoice) = new {
            self.announce(
                ticket,
                InvoiceEvent::Added(super::registry::unpaid(invoice.clone())),
            );
            ledger.remember(&self.store, invoice, ticket);
        }
    }

    /// Fails these HTLCs of a set. One that was never stored leaves no row.
    fn fail(
        &self,
        ledger: &mut Ledger,
        set_id: SetId,
        htlcs: &[HtlcRef],
        never_stored: crate::amp::HtlcKey,
    ) {
        let stored: Vec<HtlcRef> = htlcs
            .iter()
            .filter(|htlc| htlc.key != never_stored)
            .copied()
            .collect();
        if let Some(open) = ledger.open.get_mut(&set_id) {
            open.htlcs.remove(&never_stored);
        }
        self.cancel_rows(ledger, set_id, &stored);
        for htlc in htlcs {
            self.port.fail(&htlc.payment_hash);
        }
    }

    /// Our books: these held HTLCs are canceled. Returns what is needed to fail them.
    fn cancel_rows(
        &self,
        ledger: &mut Ledger,
        set_id: SetId,
        htlcs: &[HtlcRef],
    ) -> Vec<(PaymentHash, Envelope)> {
        let Some(open) = ledger.open.get_mut(&set_id) else {
            return Vec::new();
        };
        let mut changes: Vec<Box<dyn Change>> = Vec::new();
        let mut canceled = Vec::new();
        for htlc in htlcs {
            let Some((mut row, envelope)) = open.htlcs.remove(&htlc.key) else {
                continue;
            };
            row.state = HtlcState::Canceled;
            row.resolved_at = Some(now());
            changes.push(Box::new(PutHtlc(row)));
            canceled.push((htlc.payment_hash, envelope));
        }
        if !changes.is_empty() {
            changes.insert(
                0,
                Box::new(PutSet(set_row(open, HtlcState::Canceled, None))),
            );
            self.store.submit(changes);
        }
        if open.htlcs.is_empty() {
            ledger.open.remove(&set_id);
        }
        canceled
    }

    /// Fails with `mpp_timeout` what was held for too long at `now` (seconds since 1970). Returns
    /// when the next one is due.
    pub(super) fn expire_sets(&self, now: u64) -> Option<u64> {
        let mut ledger = self.ledger();
        let overdue: Vec<(SetId, Vec<HtlcRef>)> = ledger
            .open
            .iter_mut()
            .map(|(id, open)| (*id, open.set.expire(now)))
            .collect();
        for (set_id, htlcs) in overdue {
            for (hash, envelope) in self.cancel_rows(&mut ledger, set_id, &htlcs) {
                tracing::info!(%hash, %set_id, "AMP shard timed out");
                self.port.fail_timed_out(&hash, &envelope);
            }
        }
        ledger
            .open
            .values()
            .filter_map(|open| open.set.next_expiry())
            .min()
    }

    /// `Event::HTLCHandlingFailed` for a payment to us: LDK has given an HTLC back by itself.
    ///
    /// It need not be the one that we hold: whoever forwarded a shard knows its hash and can send
    /// another HTLC with it, which LDK refuses. Books and channel must agree nevertheless, so what
    /// leaves our books is failed in LDK, too; kept in the channel alone it would stay there until
    /// its expiry.
    pub fn htlc_gone(&self, hash: &PaymentHash) {
        let mut ledger = self.ledger();
        self.hold_gone(&mut ledger, hash);
        let found = ledger.open.iter().find_map(|(set_id, open)| {
            let htlc = open.set.held().find(|htlc| htlc.payment_hash == *hash)?;
            Some((
                *set_id,
                HtlcRef {
                    key: htlc.key,
                    payment_hash: *hash,
                },
            ))
        });
        if let Some((set_id, htlc)) = found {
            if let Some(open) = ledger.open.get_mut(&set_id) {
                open.set.remove(&htlc.key);
            }
            self.cancel_rows(&mut ledger, set_id, &[htlc]);
            self.port.fail(hash);
        }
    }
}

/// The set's view of a stored shard.
pub(super) fn set_htlc(row: &HtlcRecord, envelope: &Envelope) -> SetHtlc {
    SetHtlc {
        key: envelope.key(),
        payment_hash: PaymentHash(row.payment_hash),
        amount_msat: row.amount_msat,
        share: envelope.amp.share.clone(),
        child_index: envelope.amp.child_index,
        total_msat: row.total_msat,
        cltv_expiry: row.expiry_height,
        claim_deadline: row.claim_deadline,
        accepted_height: row.accept_height,
        accepted_at: row.accepted_at,
    }
}

fn check_invoice(
    invoice: &InvoiceRecord,
    mpp: &MppRecord,
    cltv_expiry: u32,
    height: u32,
) -> Result<(), Refusal> {
    if !invoice.kind.is_amp() {
        return Err(Refusal::HtlcInvoiceTypeMismatch);
    }
    if invoice.state != InvoiceState::Open {
        return Err(Refusal::InvoiceNotOpen);
    }
    if mpp.total_msat < invoice.value_msat {
        return Err(Refusal::HtlcSetTotalTooLow);
    }
    let least = invoice.terms.cltv_delta.max(FINAL_CLTV_REJECT_DELTA);
    if cltv_expiry < height.saturating_add(least) {
        return Err(Refusal::ExpiryTooSoon);
    }
    Ok(())
}

/// The invoice of a payment that nobody asked for, as lnd makes it.
fn spontaneous(mpp: &MppRecord, first_hash: PaymentHash) -> InvoiceRecord {
    InvoiceRecord {
        add_index: 0,
        kind: InvoiceKind::SpontaneousAmp,
        payment_hash: first_hash.0,
        payment_addr: mpp.payment_addr.to_bytes(),
        preimage: None,
        terms: InvoiceTerms {
            cltv_delta: FINAL_CLTV_REJECT_DELTA,
            ..InvoiceTerms::default()
        },
        value_msat: mpp.total_msat,
        created_at: now(),
        expires_at: None,
        state: InvoiceState::Open,
        settle_index: None,
        settled_at: None,
        amt_paid_msat: 0,
    }
}

fn invoice_change(new: Option<&InvoiceRecord>) -> Vec<Box<dyn Change>> {
    new.map(|invoice| Box::new(PutInvoice(invoice.clone())) as Box<dyn Change>)
        .into_iter()
        .collect()
}

fn set_row(open: &OpenSet, state: HtlcState, settled: Option<(u64, u64)>) -> SetRecord {
    let held = open.htlcs.values().map(|(row, _)| row.amount_msat);
    SetRecord {
        set_id: open.set.set_id().to_bytes(),
        add_index: open.invoice.add_index,
        state,
        settle_index: settled.map(|(index, _)| index),
        settled_at: settled.map(|(_, at)| at),
        amt_paid_msat: held.fold(0, u64::saturating_add),
    }
}

#[cfg(test)]
mod tests;
