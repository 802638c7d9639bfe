//! Timers: fails shards that were held too long and cancels expired invoices.

use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::cancel::{cancel_invoice, delete_unpaid, fail_back_all};
use super::decision::Decision;
use super::find::current;
use super::registry::Registry;
use super::state::State;
use super::steady_clock::SteadyClock;
use crate::clock::unix_seconds;
use crate::model::invoice::{InvoiceKind, InvoiceRecord};
use crate::storage::{StorageError, Ticket};

/// Invoices canceled per batch. Decisions about payments wait for the lock.
const BATCH: usize = 100;
/// Upper bound for sleeping: the clock may be set, or the machine may be suspended.
const MAX_SLEEP: Duration = Duration::from_secs(600);
/// Delay before retrying after a database read error.
const RETRY_DELAY: Duration = Duration::from_secs(30);

/// The result of one batch of expired invoices.
#[derive(Debug)]
pub(super) enum Expired {
    /// Some were canceled or deleted; look for more once the ticket is durable.
    Some(Ticket),
    /// None is left. The last valid second of the next invoice to expire, if any.
    None(Option<u64>),
}

impl Registry {
    /// Fails shards whose set was not completed in time, cancels expired invoices and deletes old
    /// rows of failed shards, until the node shuts down.
    pub async fn run_timers(&self, stop: CancellationToken) {
        tokio::join!(
            self.run_set_timer(&stop),
            self.run_expiry(&stop),
            self.run_row_cleanup(&stop)
        );
    }

    async fn run_set_timer(&self, stop: &CancellationToken) {
        loop {
            let due = self.expire_sets(unix_seconds());
            if !pause(stop, &self.timer, due.map(until)).await {
                return;
            }
        }
    }

    async fn run_expiry(&self, stop: &CancellationToken) {
        let mut clock = SteadyClock::default();
        loop {
            if let Some(wait) = clock.wait(Instant::now(), unix_seconds()) {
                if !pause(stop, &self.expiry, Some(wait)).await {
                    return;
                }
                continue;
            }
            let wait = match self.expire_invoices(unix_seconds()) {
                Ok(Expired::Some(ticket)) => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.store.durable(ticket) => continue,
                    }
                }
                Ok(Expired::None(next)) => next.map(|last_second| until(last_second + 1)),
                Err(error) => {
                    tracing::error!("cannot read expired invoices: {error}");
                    Some(RETRY_DELAY)
                }
            };
            if !pause(stop, &self.expiry, wait).await {
                return;
            }
        }
    }

    /// Cancels a batch of the invoices that expired before `now` (seconds since 1970). Those of
    /// spontaneous payments are deleted: they only expire unpaid, their payers do not know of them,
    /// and unknown payers must not fill the disk.
    pub(super) fn expire_invoices(&self, now: u64) -> Result<Expired, StorageError> {
        let mut state = self.state();
        let mut last = None;
        for read in self.store.expired_invoices(now, BATCH)? {
            // Uncommitted decisions may not be in the database yet.
            let invoice = current(&state, read).filter(|invoice| invoice.is_expired(now));
            if let Some(invoice) = invoice {
                let expired = expire(&mut state, invoice);
                last = Some(self.carry_out(&mut state, expired));
            }
        }
        if let Some(ticket) = last {
            return Ok(Expired::Some(ticket));
        }
        let next = self.store.next_expiry()?;
        Ok(Expired::None(state.plan_expiry(next)))
    }
}

fn expire(state: &mut State, invoice: InvoiceRecord) -> Decision {
    if invoice.kind != InvoiceKind::SpontaneousAmp {
        return cancel_invoice(state, invoice);
    }
    let (failed, _) = fail_back_all(state, invoice.add_index);
    failed.and(delete_unpaid(invoice))
}

/// The time until this second, at least one second: the clock has no finer resolution.
fn until(second: u64) -> Duration {
    Duration::from_secs(second.saturating_sub(unix_seconds()).max(1))
}

/// Waits for a timeout or a notification. Returns false on shutdown.
async fn pause(stop: &CancellationToken, news: &Notify, wait: Option<Duration>) -> bool {
    let wait = wait.unwrap_or(MAX_SLEEP).min(MAX_SLEEP);
    tokio::select! {
        () = stop.cancelled() => false,
        () = news.notified() => true,
        () = tokio::time::sleep(wait) => true,
    }
}

#[cfg(test)]
mod tests;
