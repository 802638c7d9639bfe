//! Totals of the page's invoices: amount, number of payments, and the latest payments.
//!
//! They are read from the database once and then updated from settlement events. Settle indices only
//! increase, so an event with a lower index has been counted already.

use std::collections::{BTreeSet, VecDeque};

use crate::invoices::InvoiceView;
use crate::model::amp_payment::{PaymentPage, PaymentRecord};
use crate::storage::{StorageError, Store};
use ampd_text::sanitize;

/// Number of payments listed on the page.
const RECENT: usize = 10;
/// Maximum length of a displayed message, in characters. The ledger keeps the complete message.
const MAX_MESSAGE_CHARS: usize = 300;

/// The total received by all invoices of the page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    pub payments: u64,
    pub amt_msat: u64,
}

/// A payment as shown to visitors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Donation {
    pub(super) settle_index: u64,
    /// Unix time in seconds.
    pub(super) settled_at: u64,
    pub(super) amt_msat: u64,
    /// Free of control characters, but not escaped for HTML.
    pub(super) message: Option<String>,
}

/// Totals and latest payments of the page.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) total: Total,
    /// Newest first.
    pub(super) recent: VecDeque<Donation>,
    last_settle_index: u64,
    /// Add indices of the page's invoices.
    of_page: BTreeSet<u64>,
    show_messages: bool,
}

impl Totals {
    /// Reads the totals. Events from an earlier subscription may repeat payments that are included here.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) fn read(store: &Store, show_messages: bool) -> Result<Self, StorageError> {
        let total = store.donation_total()?;
        let invoices = store.donation_invoices()?;
        let of_page: BTreeSet<u64> = invoices.iter().map(|one| one.add_index).collect();
        let last = PaymentPage {
            reversed: true,
            limit: RECENT as u64,
            // Later payments arrive as events.
            index_offset: total.last_settle_index + 1,
            ..PaymentPage::default()
        };
        let mut recent = Vec::new();
        for add_index in &of_page {
            recent.extend(store.payments_of_invoice(*add_index, &last)?);
        }
        recent.sort_by_key(|payment| std::cmp::Reverse(payment.settle_index));
        recent.truncate(RECENT);
        Ok(Self {
            total: Total {
                payments: total.payments,
                amt_msat: total.amt_msat,
            },
            recent: recent
                .into_iter()
                .map(|payment| donation(payment, show_messages))
                .collect(),
            last_settle_index: total.last_settle_index,
            of_page,
            show_messages,
        })
    }

    /// Adds an invoice; its payments count from now on.
    pub(super) fn add_invoice(&mut self, add_index: u64) {
        self.of_page.insert(add_index);
    }

    /// Counts a settled set. Returns `None` if it does not belong to the page or was counted before.
    pub(super) fn count(&mut self, view: &InvoiceView) -> Option<&Donation> {
        let set = view.sets.first()?;
        let settle_index = set.settle_index?;
        let is_new = settle_index > self.last_settle_index;
        if !is_new || !self.of_page.contains(&view.record.add_index) {
            return None;
        }
        self.last_settle_index = settle_index;
        self.total.payments = self.total.payments.saturating_add(1);
        self.total.amt_msat = self.total.amt_msat.saturating_add(set.amt_paid_msat);
        let records = view.htlcs.iter().map(|htlc| &htlc.custom_records);
        let message = records
            .filter_map(|records| records.get(&lnd_api::tlv::MESSAGE))
            .next();
        self.recent.truncate(RECENT - 1);
        self.recent.push_front(Donation {
            settle_index,
            settled_at: set.settled_at.unwrap_or_default(),
            amt_msat: set.amt_paid_msat,
            message: message
                .filter(|_| self.show_messages)
                .and_then(|bytes| shown_message(bytes)),
        });
        self.recent.front()
    }
}

fn donation(payment: PaymentRecord, show_messages: bool) -> Donation {
    let message = payment.message.filter(|_| show_messages);
    Donation {
        settle_index: payment.settle_index,
        settled_at: payment.settled_at,
        amt_msat: payment.amt_msat,
        message: message.and_then(|bytes| shown_message(&bytes)),
    }
}

/// Turns a payer's message into text of limited length, with control and bidirectional characters escaped.
fn shown_message(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let mut shown: String = text.chars().take(MAX_MESSAGE_CHARS).collect();
    let is_cut = shown.len() < text.len();
    shown = sanitize::escape(&shown);
    if is_cut {
        shown.push('…');
    }
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use ldk_amp::SetId;

    use super::*;
    use crate::model::htlc::{HtlcState, SetRecord};
    use crate::storage::donations::PutDonationInvoice;
    use crate::storage::donations::tests::invoice;
    use crate::storage::invoices::{PutInvoice, PutSet};

    fn set(add_index: u64, settle_index: u64) -> SetRecord {
        SetRecord {
            set_id: SetId::from_bytes([settle_index as u8; 32]),
            add_index,
            state: HtlcState::Settled,
            settle_index: Some(settle_index),
            settled_at: Some(1_000 + settle_index),
            amt_paid_msat: 1 << settle_index,
        }
    }

    fn event(set: SetRecord) -> InvoiceView {
        InvoiceView {
            record: invoice(set.add_index),
            htlcs: Vec::new(),
            sets: vec![set],
        }
    }

    /// A store with three invoices, of which the first and the third belong to the page.
    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for add_index in 1..=3 {
            store.submit(PutInvoice(invoice(add_index)));
        }
        for add_index in [1, 3] {
            store.submit(PutDonationInvoice { add_index });
        }
        store.flush();
        (directory, store)
    }

    #[test]
    fn counts_each_payment_once_wherever_reading_and_events_overlap() {
        let sets: Vec<_> = (1..=20).map(|index| set(index % 3 + 1, index)).collect();
        let (mut payments, mut amt_msat) = (0, 0);
        for one in sets.iter().filter(|set| set.add_index != 2) {
            payments += 1;
            amt_msat += one.amt_paid_msat;
        }
        let expected = Total { payments, amt_msat };
        for on_disk in 0..=sets.len() {
            let (_directory, store) = store();
            for set in &sets[..on_disk] {
                store.submit(PutSet(set.clone()));
            }
            store.flush();
            let mut totals = Totals::read(&store, true).unwrap();
            // Events that overlap with the totals read from disk.
            for set in &sets[on_disk.saturating_sub(5)..] {
                totals.count(&event(set.clone()));
            }
            assert_eq!(totals.total, expected, "{on_disk} on disk");
            let listed: Vec<_> = totals.recent.iter().map(|one| one.settle_index).collect();
            assert_eq!(listed, [20, 18, 17, 15, 14, 12, 11, 9, 8, 6]);
        }
    }

    #[test]
    fn counts_payments_of_an_added_invoice() {
        let (_directory, store) = store();
        let mut totals = Totals::read(&store, false).unwrap();
        assert_eq!(totals.count(&event(set(2, 1))), None);
        totals.add_invoice(2);
        assert!(totals.count(&event(set(2, 2))).is_some());
        assert_eq!(totals.total.payments, 1);
    }

    #[test]
    fn truncates_messages_at_a_character_and_escapes_them() {
        assert_eq!(shown_message(b"  thanks \n"), Some("thanks".into()));
        assert_eq!(shown_message(b" "), None);
        let long = "ü".repeat(301);
        let shown = shown_message(long.as_bytes()).unwrap();
        assert_eq!(shown, format!("{}…", "ü".repeat(300)));
        let hostile = shown_message("a\u{202e}b\u{1b}[2J\n<b>".as_bytes()).unwrap();
        assert_eq!(hostile, "a\\u{202e}b\\u{1b}[2J\\u{a}<b>");
        assert_eq!(shown_message(&[0xff, b'x']), Some("\u{fffd}x".into()));
    }
}
