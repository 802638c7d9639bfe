//! HTLCs of AMP invoices that went back are forgotten after a while.
//!
//! A stranger who knows the payment address of an invoice, such as that of a donation page, can send
//! parts of payments that are never completed. Each is held for a while and goes back, which costs
//! nothing. Its row stays for [`KEPT_SECONDS`], for the owner to look at, and at most [`MOST_KEPT`] of
//! them do. The last minute's are always kept: until LDK has written that an HTLC went back, it is the row
//! that makes it go back after a crash (`restore`).

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use lightning::ln::types::ChannelId;
use tokio_util::sync::CancellationToken;

use super::find::current;
use super::ledger::Ledger;
use super::registry::{Registry, now};
use ldk_amp::HtlcKey;
use crate::storage::invoices::{ForgetGivenBack, GivenBack, InvoiceKind, InvoiceRecord};
use crate::storage::{StorageError, Ticket};

/// How long an HTLC that went back is kept, in seconds.
const KEPT_SECONDS: u64 = 3_600;
/// How long it is kept at least, in seconds. By then LDK has written that it went back, unless it still
/// has the HTLC.
const KEPT_SECONDS_AT_LEAST: u64 = 60;
/// As many are kept if more went back. A payer retries a few times; this is many payers.
const MOST_KEPT: u64 = 1_000;
/// How often is looked for what can be forgotten, and how long after the start first: what a restart
/// gives back again is written by then.
const PERIOD: Duration = Duration::from_secs(60);
/// As many at a time are deleted: commits that move money wait meanwhile.
const SLICE: usize = 200;

impl Registry {
    pub(super) async fn run_forgetting(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                forgotten = self.forget_given_back(now()) => {
                    if let Err(error) = forgotten {
                        tracing::error!("HTLCs that went back cannot be deleted: {error}");
                    }
                }
            }
        }
    }

    /// Deletes what need not be kept any more at `now` (seconds since 1970). It is gone from the disk
    /// when this returns. [`Registry::run_timers`] calls it; tests give it a time of their own.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn forget_given_back(&self, now: u64) -> Result<(), StorageError> {
        let surplus = self.store.canceled_shard_before_newest(MOST_KEPT)?;
        let before = now
            .saturating_sub(KEPT_SECONDS)
            .max(surplus.map_or(0, |time| time.saturating_add(1)))
            .min(now.saturating_sub(KEPT_SECONDS_AT_LEAST));
        // Read once: what LDK is told later is younger than `before`.
        let present: HashSet<HtlcKey> = self.port.all_incoming().into_iter().collect();
        let is_gone = |htlc: &GivenBack| !present.contains(&key(htlc));

        let mut after = GivenBack::default();
        loop {
            let page = self.store.canceled_shards(before, after, SLICE)?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            let gone = page.into_iter().filter(|(htlc, _)| is_gone(htlc)).collect();
            let ticket = self.forget_shards(gone, before)?;
            self.store.durable(ticket).await;
        }
        let mut after = GivenBack::default();
        loop {
            let mut page = self.store.given_back_before(before, after, SLICE)?;
            let Some(last) = page.last() else { break };
            after = *last;
            page.retain(is_gone);
            let ticket = self.store.submit(ForgetGivenBack(page));
            self.store.durable(ticket).await;
        }
        Ok(())
    }

    /// Deletes these HTLCs (with the add indices of their invoices) and their sets; with the last of a
    /// spontaneous payment that was never completed also its invoice.
    fn forget_shards(
        &self,
        shards: Vec<(GivenBack, u64)>,
        before: u64,
    ) -> Result<Ticket, StorageError> {
        let mut ledger = self.ledger();
        let invoices: BTreeSet<u64> = shards.iter().map(|(_, add_index)| *add_index).collect();
        for add_index in invoices {
            if let Some(invoice) = self.unpaid_and_idle(&ledger, add_index, before)? {
                self.delete_unpaid(&mut ledger, invoice);
            }
        }
        let htlcs = shards.into_iter().map(|(htlc, _)| htlc).collect();
        Ok(self.store.submit(ForgetGivenBack(htlcs)))
    }

    /// The invoice, if it is one of a spontaneous payment that was never completed, and nothing came
    /// for it since this time.
    fn unpaid_and_idle(
        &self,
        ledger: &Ledger,
        add_index: u64,
        since: u64,
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        let found = self.store.invoice(add_index)?;
        let invoice = found.and_then(|read| current(ledger, read)).filter(|it| {
            it.kind == InvoiceKind::SpontaneousAmp
                && it.expires_at.is_some()
                && ledger.open.keys_of(add_index).is_empty()
        });
        if invoice.is_some() && self.store.has_canceled_htlc_since(add_index, since)? {
            return Ok(None);
        }
        Ok(invoice)
    }
}

fn key(htlc: &GivenBack) -> HtlcKey {
    HtlcKey {
        channel_id: ChannelId(htlc.channel_id),
        htlc_id: htlc.htlc_id,
    }
}

#[cfg(test)]
mod tests;
