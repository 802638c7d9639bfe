//! Collects the broadcasts of LDK's bump handler and lowers the level of its log records.

use std::sync::{Mutex, MutexGuard};

use bitcoin::Transaction;
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::util::logger::{Level, Logger, Record};

use crate::logging::ldk::LdkLogger;
use crate::sync::lock;

/// Collects transactions until they are taken.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Vec<Vec<Transaction>>>);

impl Outbox {
    /// Returns the packages collected since the last call.
    pub(super) fn take(&self) -> Vec<Vec<Transaction>> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Transaction>>> {
        lock(&self.0)
    }
}

impl BroadcasterInterface for Outbox {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        self.lock().push(txs.iter().map(|&tx| tx.clone()).collect());
    }
}

/// Logs LDK's records at debug level: a failed attempt is followed by another, and only the result matters.
pub(super) struct QuietLogger;

impl Logger for QuietLogger {
    fn log(&self, mut record: Record) {
        if matches!(record.level, Level::Info | Level::Warn | Level::Error) {
            record.level = Level::Debug;
        }
        LdkLogger.log(record);
    }
}
