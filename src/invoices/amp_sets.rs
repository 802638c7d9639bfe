//! Incomplete AMP sets, and the number of HTLCs that they hold on each channel.

use std::collections::HashMap;

use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;

use crate::model::htlc::{HtlcRecord, HtlcState, SetRecord};
use crate::model::invoice::InvoiceRecord;
use ldk_amp::Envelope;
use ldk_amp::{Claim, HtlcKey, HtlcSet, Outcome, SetHtlc, SetId, SetLimits};

/// A held shard: its row, and the envelope needed to fail it.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) row: HtlcRecord,
    pub(super) envelope: Envelope,
}

impl Held {
    /// The HTLC as the set's rules see it.
    fn set_htlc(&self) -> SetHtlc {
        SetHtlc {
            key: self.envelope.key(),
            payment_hash: self.row.payment_hash,
            amount_msat: self.row.amount_msat,
            share: self.envelope.amp.share.clone(),
            child_index: self.envelope.amp.child_index,
            total_msat: self.row.total_msat,
            cltv_expiry: self.row.expiry_height,
            claim_deadline: self.row.claim_deadline,
            accepted_height: self.row.accept_height,
            accepted_at: self.row.accepted_at,
        }
    }
}

/// An incomplete set with the rows of its HTLCs.
pub(super) struct OpenSet {
    /// The invoice as it was when the first HTLC arrived.
    pub(super) invoice: InvoiceRecord,
    set: HtlcSet,
    pub(super) htlcs: HashMap<HtlcKey, Held>,
}

impl OpenSet {
    fn new(invoice: InvoiceRecord, set: HtlcSet) -> Self {
        Self {
            invoice,
            set,
            htlcs: HashMap::new(),
        }
    }

    /// Marks the HTLCs of these claims as settled at this time (seconds since 1970).
    pub(super) fn settle_htlcs(&mut self, claims: &[Claim], now: u64) {
        for claim in claims {
            if let Some(held) = self.htlcs.get_mut(&claim.key) {
                held.row.state = HtlcState::Settled;
                held.row.resolved_at = Some(now);
                held.row.preimage = Some(claim.preimage);
            }
        }
    }

    /// The state of the set's rules.
    pub(super) fn set(&self) -> &HtlcSet {
        &self.set
    }

    /// The sum of its HTLCs, in msat.
    pub(super) fn amount_msat(&self) -> u64 {
        let amounts = self.htlcs.values().map(|held| held.row.amount_msat);
        amounts.fold(0, u64::saturating_add)
    }

    /// The row of this set, which is not settled.
    pub(super) fn row(&self, state: HtlcState) -> SetRecord {
        SetRecord {
            set_id: self.set.set_id(),
            add_index: self.invoice.add_index,
            state,
            settle_index: None,
            settled_at: None,
            amt_paid_msat: self.amount_msat(),
        }
    }
}

/// Sets change only through these methods, which keep the counters right.
#[derive(Default)]
pub(super) struct OpenSets {
    sets: HashMap<SetId, OpenSet>,
    per_channel: HashMap<ChannelId, usize>,
    held: usize,
    /// Held HTLCs by payment hash. LDK holds at most one HTLC per AMP payment hash.
    by_hash: HashMap<PaymentHash, (SetId, HtlcKey)>,
}

impl OpenSets {
    pub(super) fn get(&self, set_id: &SetId) -> Option<&OpenSet> {
        self.sets.get(set_id)
    }

    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// Returns whether this HTLC is held.
    pub(super) fn holds(&self, set_id: &SetId, key: &HtlcKey) -> bool {
        let set = self.sets.get(set_id);
        set.is_some_and(|set| set.htlcs.contains_key(key))
    }

    /// The number of HTLCs held on a channel.
    pub(super) fn held_on(&self, channel: &ChannelId) -> usize {
        self.per_channel.get(channel).copied().unwrap_or(0)
    }

    /// Offers an HTLC to its set and returns the set's decision. The HTLC is added unless it fails.
    /// On [`Outcome::Fail`], the other HTLCs to fail are still in the set.
    pub(super) fn accept(
        &mut self,
        invoice: &InvoiceRecord,
        held: Held,
        limits: SetLimits,
        height: u32,
    ) -> Outcome {
        let set_id = held.envelope.amp.set_id;
        let open = self
            .sets
            .entry(set_id)
            .or_insert_with(|| OpenSet::new(invoice.clone(), HtlcSet::new(set_id, limits)));
        let outcome = open.set.accept(held.set_htlc(), height);
        match outcome {
            Outcome::Fail { .. } => self.drop_if_empty(&set_id),
            Outcome::Hold | Outcome::Settle(_) => self.insert(set_id, held),
        }
        self.report();
        outcome
    }

    /// Adds an HTLC that was held before a restart.
    pub(super) fn restore(&mut self, invoice: InvoiceRecord, held: Held, limits: SetLimits) {
        let set_id = held.envelope.amp.set_id;
        self.sets
            .entry(set_id)
            .or_insert_with(|| OpenSet::new(invoice, HtlcSet::new(set_id, limits)));
        self.insert(set_id, held);
        if let Some(open) = self.sets.get_mut(&set_id) {
            let htlcs = open.htlcs.values().map(Held::set_htlc);
            open.set = HtlcSet::restore(set_id, limits, htlcs);
        }
        self.report();
    }

    /// Removes one HTLC.
    pub(super) fn remove(&mut self, set_id: &SetId, key: &HtlcKey) -> Option<Held> {
        let open = self.sets.get_mut(set_id)?;
        open.set.remove(key);
        let held = open.htlcs.remove(key)?;
        self.uncount(key, &held);
        self.drop_if_empty(set_id);
        self.report();
        Some(held)
    }

    /// Removes a whole set.
    pub(super) fn take(&mut self, set_id: &SetId) -> Option<OpenSet> {
        let open = self.sets.remove(set_id)?;
        for (key, held) in &open.htlcs {
            self.uncount(key, held);
        }
        self.report();
        Some(open)
    }

    /// The held HTLCs of one invoice, by set.
    pub(super) fn keys_of(&self, add_index: u64) -> Vec<(SetId, Vec<HtlcKey>)> {
        let sets = self.sets.iter();
        sets.filter(|(_, open)| open.invoice.add_index == add_index)
            .map(|(set_id, open)| (*set_id, open.htlcs.keys().copied().collect()))
            .collect()
    }

    /// The set and key of the held HTLC with this hash.
    pub(super) fn find(&self, hash: &PaymentHash) -> Option<(SetId, HtlcKey)> {
        self.by_hash.get(hash).copied()
    }

    /// The HTLCs whose hold time is over at `now` (seconds since 1970). They are not removed.
    pub(super) fn overdue(&self, now: u64) -> Vec<(SetId, Vec<HtlcKey>)> {
        let overdue = |(id, open): (&SetId, &OpenSet)| (*id, open.set.overdue(now));
        let sets = self.sets.iter().map(overdue);
        sets.filter(|(_, keys)| !keys.is_empty()).collect()
    }

    /// When the hold time of the next HTLC ends, in seconds since 1970.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        let sets = self.sets.values();
        sets.filter_map(|open| open.set.next_expiry()).min()
    }

    fn insert(&mut self, set_id: SetId, held: Held) {
        let key = held.envelope.key();
        let hash = held.row.payment_hash;
        if let Some(open) = self.sets.get_mut(&set_id)
            && open.htlcs.insert(key, held).is_none()
        {
            *self.per_channel.entry(key.channel_id).or_default() += 1;
            self.held += 1;
            self.by_hash.insert(hash, (set_id, key));
        }
    }

    fn uncount(&mut self, key: &HtlcKey, held: &Held) {
        let hash = held.row.payment_hash;
        if self.find(&hash).is_some_and(|(_, other)| other == *key) {
            self.by_hash.remove(&hash);
        }
        self.held = self.held.saturating_sub(1);
        if let Some(count) = self.per_channel.get_mut(&key.channel_id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_channel.remove(&key.channel_id);
            }
        }
    }

    fn report(&self) {
        metrics::gauge!("ampd_amp_open_sets").set(self.sets.len() as f64);
        metrics::gauge!("ampd_amp_held_htlcs").set(self.held as f64);
    }

    fn drop_if_empty(&mut self, set_id: &SetId) {
        if self
            .sets
            .get(set_id)
            .is_some_and(|open| open.htlcs.is_empty())
        {
            self.sets.remove(set_id);
        }
    }
}
