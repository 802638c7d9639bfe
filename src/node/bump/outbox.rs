//! What LDK's handler would broadcast and log.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::Transaction;
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::util::logger::{Level, Logger, Record};

use crate::logger::LdkLogger;

/// Keeps transactions until they are taken.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Vec<Vec<Transaction>>>);

impl Outbox {
    /// Everything since the last time; each item is to be broadcast together.
    pub(super) fn take(&self) -> Vec<Vec<Transaction>> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Transaction>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BroadcasterInterface for Outbox {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        self.lock().push(txs.iter().map(|&tx| tx.clone()).collect());
    }
}

/// LDK's lines at debug level: an attempt that fails is followed by another, and only the end counts.
pub(super) struct QuietLogger;

impl Logger for QuietLogger {
    fn log(&self, mut record: Record) {
        if matches!(record.level, Level::Info | Level::Warn | Level::Error) {
            record.level = Level::Debug;
        }
        LdkLogger.log(record);
    }
}
