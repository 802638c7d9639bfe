//! The composition root: builds the other modules in the required order, runs them and stops them.
//!
//! [`Node::start`] opens files, database and bitcoind (`parts`), reads LDK's state from them (`core`),
//! connects the other modules to it (`house`), catches up with the chain (`catch_up`) and starts the
//! tasks (`tasks`, `background`). `events` dispatches LDK's events. No other module depends on all
//! the others.

mod background;
mod books;
mod bump;
mod callers;
mod catch_up;
mod chain_listener;
mod core;
mod cut;
mod donations;
mod error;
mod events;
mod funding;
mod gate;
mod gossip_queries;
mod graph_keeper;
mod house;
mod inbound_htlcs;
mod known_peers;
mod metrics;
mod outbound_htlcs;
mod page_address;
mod parts;
mod peer_channels;
mod rebroadcast;
mod reserve;
mod seed;
mod stakes;
mod tasks;
mod ticks;
mod unfunded;
mod updates;
mod vital;
mod watched;

use tokio_util::sync::CancellationToken;

pub use error::StartError;
pub use inbound_htlcs::ManagerInboundHtlcs;
pub use outbound_htlcs::ManagerOutboundHtlcs;
pub use peer_channels::ManagerPeers;
pub use vital::Broken;

use crate::config::Config;
use crate::log_levels::LogLevels;
use crate::open_files;
use crate::storage::{StorageError, Store};
use tasks::Tasks;

/// A running node.
pub struct Node {
    tasks: Tasks,
}

impl Node {
    /// Starts a node. When this returns, it listens for peers and API clients. `levels` lets API
    /// clients change the log level.
    ///
    /// # Errors
    /// [`StartError`]: one line that says what is wrong and what to do. Existing files are never
    /// overwritten.
    pub async fn start(config: &Config, levels: LogLevels) -> Result<Self, StartError> {
        open_files::raise_limit();
        let stop = CancellationToken::new();
        let parts = parts::open(config, &stop).await?;
        let core = core::assemble(config, parts, stop.clone())?;
        let store = core.store.clone();
        let tasks = tokio::select! {
            tasks = Tasks::start(config, core, stop, levels) => tasks?,
            () = store.ended() => return Err(why_ended(&store).into()),
        };
        Ok(Self { tasks })
    }

    /// Completes when an API client has requested a shutdown.
    ///
    /// # Errors
    /// [`Broken`] if the node has to shut down because a critical task ended. [`Node::stop`] must be
    /// called in this case as well.
    pub async fn stopped(&self) -> Result<(), Broken> {
        self.tasks.stopped().await
    }

    /// Stops all tasks and commits pending changes.
    ///
    /// # Errors
    /// If not everything could be written. The next start continues from the last commit.
    pub async fn stop(self) -> Result<(), StorageError> {
        self.tasks.stop().await
    }
}

/// Returns the reason why the database writer ended before the store was closed.
fn why_ended(store: &Store) -> StorageError {
    let why = || StorageError::Unwritten("the writer ended".into());
    store.close().err().unwrap_or_else(why)
}
