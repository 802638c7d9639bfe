//! Time: shards that were held for too long go back, invoices past their expiry are canceled.

use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::InvoiceView;
use super::clock::SteadyClock;
use super::find::current;
use super::ledger::Ledger;
use super::registry::{Registry, now};
use super::subscribe::InvoiceEvent;
use crate::storage::invoices::{InvoiceKind, InvoiceRecord, InvoiceState};
use crate::storage::{StorageError, Ticket};

/// As many invoices at a time are canceled: decisions about payments wait meanwhile.
const SLICE: usize = 100;
/// No longer sleep than this: the clock may be set, or the machine be asleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);
/// How long to wait if the database cannot be read.
const RETRY: Duration = Duration::from_secs(30);

/// What became of one slice of expired invoices.
#[derive(Debug)]
pub(super) enum Expired {
    /// Some were canceled or deleted; there may be more once that is on disk.
    Some(Ticket),
    /// None was left; the next one expires after this second, if any.
    None(Option<u64>),
}

impl Registry {
    /// Fails shards whose set did not complete in time, cancels invoices past their expiry and forgets
    /// what went back long ago, until the node stops.
    pub async fn run_timers(&self, stop: CancellationToken) {
        tokio::join!(
            self.run_set_timer(&stop),
            self.run_expiry(&stop),
            self.run_forgetting(&stop)
        );
    }

    async fn run_set_timer(&self, stop: &CancellationToken) {
        loop {
            let due = self.expire_sets(now());
            if !pause(stop, &self.timer, due.map(until)).await {
                return;
            }
        }
    }

    async fn run_expiry(&self, stop: &CancellationToken) {
        let mut clock = SteadyClock::default();
        loop {
            if let Some(wait) = clock.wait(Instant::now(), now()) {
                if !pause(stop, &self.expiry, Some(wait)).await {
                    return;
                }
                continue;
            }
            let wait = match self.expire_invoices(now()) {
                Ok(Expired::Some(ticket)) => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.store.durable(ticket) => continue,
                    }
                }
                Ok(Expired::None(next)) => next.map(|last_second| until(last_second + 1)),
                Err(error) => {
                    tracing::error!("expired invoices cannot be found: {error}");
                    Some(RETRY)
                }
            };
            if !pause(stop, &self.expiry, wait).await {
                return;
            }
        }
    }

    /// Cancels some of the invoices that expired before `now` (seconds since 1970). Those of
    /// spontaneous payments, which are unpaid if they expire, are deleted: their payers never knew
    /// of them, and strangers must not fill the disk.
    pub(super) fn expire_invoices(&self, now: u64) -> Result<Expired, StorageError> {
        let mut ledger = self.ledger();
        let mut last = None;
        for read in self.store.expired_invoices(now, SLICE)? {
            // What was decided about it a moment ago may not be in the database yet.
            let invoice = current(&ledger, read).filter(|invoice| invoice.is_expired(now));
            if let Some(invoice) = invoice {
                last = Some(self.expire_invoice(&mut ledger, invoice));
            }
        }
        if let Some(ticket) = last {
            return Ok(Expired::Some(ticket));
        }
        let next = self.store.next_expiry()?;
        Ok(Expired::None(ledger.plan_expiry(next)))
    }

    fn expire_invoice(&self, ledger: &mut Ledger, invoice: InvoiceRecord) -> Ticket {
        if invoice.kind != InvoiceKind::SpontaneousAmp {
            return self.cancel_invoice(ledger, invoice);
        }
        self.give_back_all(ledger, invoice.add_index, Vec::new());
        self.delete_unpaid(ledger, invoice)
    }

    /// Deletes the invoice of a spontaneous payment that was never completed, for which nothing is held.
    pub(super) fn delete_unpaid(&self, ledger: &mut Ledger, invoice: InvoiceRecord) -> Ticket {
        let ticket = self.delete_invoice(ledger, &invoice);
        let view = InvoiceView {
            record: InvoiceRecord {
                state: InvoiceState::Canceled,
                ..invoice
            },
            htlcs: Vec::new(),
            sets: Vec::new(),
        };
        self.announce(ticket, InvoiceEvent::Canceled(view));
        ticket
    }
}

/// Time until this second, at least one: nothing is due sooner than the clock can tell.
fn until(second: u64) -> Duration {
    Duration::from_secs(second.saturating_sub(now()).max(1))
}

/// Waits until it is time, or there is news; false if the node stops.
async fn pause(stop: &CancellationToken, news: &Notify, wait: Option<Duration>) -> bool {
    let wait = wait.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
    tokio::select! {
        () = stop.cancelled() => false,
        () = news.notified() => true,
        () = tokio::time::sleep(wait) => true,
    }
}

#[cfg(test)]
mod tests;
