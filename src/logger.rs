//! LDK's log records, handed to `tracing`.

use lightning::util::logger::{Level, Logger, Record};

/// Target of every record that comes from LDK, for filters such as `info,ldk=warn`.
const TARGET: &str = "ldk";

/// Forwards LDK's records to `tracing` at the same level, under the target `ldk`.
///
/// LDK's own module path goes along as a field. `Gossip`, LDK's chattiest level, is dropped: on
/// mainnet it is a line for each of some 100,000 gossip messages.
#[derive(Debug, Default)]
pub struct LdkLogger;

impl Logger for LdkLogger {
    fn log(&self, record: Record) {
        let module = record.module_path;
        match record.level {
            Level::Gossip => {}
            Level::Trace => tracing::trace!(target: TARGET, module, "{}", record.args),
            Level::Debug => tracing::debug!(target: TARGET, module, "{}", record.args),
            Level::Info => tracing::info!(target: TARGET, module, "{}", record.args),
            Level::Warn => tracing::warn!(target: TARGET, module, "{}", record.args),
            Level::Error => tracing::error!(target: TARGET, module, "{}", record.args),
        }
    }
}
