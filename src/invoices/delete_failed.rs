//! Deletes old rows of HTLCs of AMP invoices that were failed back.
//!
//! Anyone who knows the payment address of an invoice, such as that of a donation page, can send
//! shards of payments that are never completed. Each is held for a while and failed back, at no
//! cost to the sender. Its row is kept for [`KEPT_SECONDS`] for the operator, and at most
//! [`MAX_KEPT_ROWS`] of them are kept. Those of the last minute are always kept: until LDK has
//! persisted that an HTLC was failed, the row is needed to fail it after a crash (`restore`).

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cancel::delete_unpaid;
use super::find::current;
use super::registry::Registry;
use super::state::State;
use crate::clock::unix_seconds;
use crate::model::invoice::{InvoiceKind, InvoiceRecord};
use crate::storage::invoices::{FailedBack, ForgetFailedBack};
use crate::storage::{StorageError, Ticket};
use ldk_amp::HtlcKey;

/// How long the row of a failed HTLC is kept, in seconds.
const KEPT_SECONDS: u64 = 3_600;
/// How long it is kept at least, in seconds. By then LDK has persisted the failure, unless it still
/// has the HTLC.
const MIN_KEPT_SECONDS: u64 = 60;
/// The maximum number of rows kept. A payer retries a few times, so these are many payers.
const MAX_KEPT_ROWS: u64 = 1_000;
/// How often to look for rows to delete. The first time is one period after startup: failures
/// repeated by the restart have been persisted by then.
const PERIOD: Duration = Duration::from_secs(60);
/// Rows deleted per batch. Commits that move money wait for a batch.
const BATCH: usize = 200;

impl Registry {
    pub(super) async fn run_row_cleanup(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                forgotten = self.delete_failed_htlcs(unix_seconds()) => {
                    if let Err(error) = forgotten {
                        tracing::error!("cannot delete rows of failed HTLCs: {error}");
                    }
                }
            }
        }
    }

    /// Deletes the rows that are no longer needed at `now` (seconds since 1970). They are deleted
    /// from disk when this returns. Called by [`Registry::run_timers`]; tests pass their own time.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn delete_failed_htlcs(&self, now: u64) -> Result<(), StorageError> {
        let surplus = self.store.canceled_shard_before_newest(MAX_KEPT_ROWS)?;
        let before = now
            .saturating_sub(KEPT_SECONDS)
            .max(surplus.map_or(0, |time| time.saturating_add(1)))
            .min(now.saturating_sub(MIN_KEPT_SECONDS));
        // Reading once is enough: rows of HTLCs that arrive later are younger than `before`.
        let present: HashSet<HtlcKey> = self.inbound.all_incoming().into_iter().collect();
        let is_gone = |htlc: &FailedBack| !present.contains(&htlc.key);

        let mut after = FailedBack::START;
        loop {
            let page = self.store.canceled_shards(before, after, BATCH)?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            let gone = page.into_iter().filter(|(htlc, _)| is_gone(htlc)).collect();
            let ticket = self.forget_shards(gone, before)?;
            self.store.durable(ticket).await;
        }
        let mut after = FailedBack::START;
        loop {
            let mut page = self.store.failed_back_before(before, after, BATCH)?;
            let Some(last) = page.last() else { break };
            after = *last;
            page.retain(is_gone);
            let ticket = self.store.submit(ForgetFailedBack(page));
            self.store.durable(ticket).await;
        }
        Ok(())
    }

    /// Deletes the rows of these HTLCs (given with the add indices of their invoices) and of their
    /// sets. The invoice of a spontaneous payment that was never completed is deleted with its last
    /// row.
    fn forget_shards(
        &self,
        shards: Vec<(FailedBack, u64)>,
        before: u64,
    ) -> Result<Ticket, StorageError> {
        let mut state = self.state();
        let invoices: BTreeSet<u64> = shards.iter().map(|(_, add_index)| *add_index).collect();
        for add_index in invoices {
            if let Some(invoice) = self.unpaid_and_idle(&state, add_index, before)? {
                self.carry_out(&mut state, delete_unpaid(invoice));
            }
        }
        let htlcs = shards.into_iter().map(|(htlc, _)| htlc).collect();
        Ok(self.store.submit(ForgetFailedBack(htlcs)))
    }

    /// Returns the invoice if it is of a spontaneous payment that was never completed, and no HTLC
    /// for it was failed since this time.
    fn unpaid_and_idle(
        &self,
        state: &State,
        add_index: u64,
        since: u64,
    ) -> Result<Option<InvoiceRecord>, StorageError> {
        let found = self.store.invoice(add_index)?;
        let invoice = found.and_then(|read| current(state, read)).filter(|it| {
            it.kind == InvoiceKind::SpontaneousAmp
                && it.expires_at.is_some()
                && state.open.keys_of(add_index).is_empty()
        });
        if invoice.is_some() && self.store.has_canceled_htlc_since(add_index, since)? {
            return Ok(None);
        }
        Ok(invoice)
    }
}

#[cfg(test)]
mod tests;
