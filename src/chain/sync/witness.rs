//! The block source for lightning-block-sync: bitcoind, with errors and headers recorded.

use std::sync::Mutex;

use bitcoin::BlockHash;
use lightning_block_sync::{
    AsyncBlockSourceResult, BlockData, BlockHeaderData, BlockSource, BlockSourceError,
};

use crate::chain::bitcoind::Bitcoind;
use crate::chain::error::ChainError;
use crate::chain::headers::DedupLog;
use crate::sync::lock;

/// A block source that keeps the last error and logs the headers that it returns.
///
/// lightning-block-sync fetches the headers leading to a block before it passes the block to a listener. So
/// a header is on disk no later than a listener at its block.
pub(super) struct Witness<'a> {
    pub(super) bitcoind: &'a Bitcoind,
    log: &'a DedupLog,
    last_error: Mutex<Option<String>>,
}

impl<'a> Witness<'a> {
    pub(super) fn new(bitcoind: &'a Bitcoind, log: &'a DedupLog) -> Self {
        Self {
            bitcoind,
            log,
            last_error: Mutex::new(None),
        }
    }

    fn note<T>(&self, result: Result<T, BlockSourceError>) -> Result<T, BlockSourceError> {
        result.map_err(|error| {
            let error = chain_error(self.bitcoind, error);
            let mut last = lock(&self.last_error);
            *last = Some(error.to_string());
            error.into()
        })
    }

    /// Takes the error of the last failed call.
    pub(super) fn take_error(&self) -> Option<String> {
        lock(&self.last_error).take()
    }
}

impl BlockSource for Witness<'_> {
    fn get_header<'a>(
        &'a self,
        hash: &'a BlockHash,
        height: Option<u32>,
    ) -> AsyncBlockSourceResult<'a, BlockHeaderData> {
        Box::pin(async move {
            let header = self.note(self.bitcoind.get_header(hash, height).await)?;
            self.log.put(&header);
            Ok(header)
        })
    }

    fn get_block<'a>(&'a self, hash: &'a BlockHash) -> AsyncBlockSourceResult<'a, BlockData> {
        Box::pin(async move { self.note(self.bitcoind.get_block(hash).await) })
    }

    fn get_best_block(&self) -> AsyncBlockSourceResult<'_, (BlockHash, Option<u32>)> {
        Box::pin(async move { self.note(self.bitcoind.get_best_block().await) })
    }
}

/// Recovers our own error, or wraps what lightning-block-sync found wrong with bitcoind's data.
pub(super) fn chain_error(bitcoind: &Bitcoind, error: BlockSourceError) -> ChainError {
    match error.into_inner().downcast::<ChainError>() {
        Ok(error) => *error,
        Err(other) => bitcoind.bad_answer("getblock", &other.to_string()),
    }
}
