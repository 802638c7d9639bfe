//! The node: builds all rooms in the one right order, runs them, stops them.
//!
//! [`Node::start`] opens what does I/O (`parts`), reads LDK's core from it (`core`), wires the rooms
//! around it (`house`), catches up with the chain (`catch_up`) and starts the tasks (`tasks`,
//! `background`). `events` hands each LDK event to its room. This is the only room that knows all
//! others.

mod acquaintances;
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
mod metrics;
mod outbound;
mod page_address;
mod parts;
mod peer_channels;
mod port;
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
pub use outbound::ManagerOutbound;
pub use peer_channels::ManagerPeers;
pub use port::ManagerPort;
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
    /// Starts a node. When this returns it listens for peers and callers, who may change the levels
    /// of the log.
    ///
    /// # Errors
    /// [`StartError`]: one line that names what is wrong and what to do; nothing is written over.
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

    /// Completes when the node wants to stop because a caller asked for it.
    ///
    /// # Errors
    /// [`Broken`] if it wants to stop because a part of it ended. Stop it all the same.
    pub async fn stopped(&self) -> Result<(), Broken> {
        self.tasks.stopped().await
    }

    /// Stops all tasks and writes what waits.
    ///
    /// # Errors
    /// If not everything could be written; nothing is lost, the next start goes on from the last
    /// commit.
    pub async fn stop(self) -> Result<(), StorageError> {
        self.tasks.stop().await
    }
}

/// Why the writer has ended though nobody closed the store.
fn why_ended(store: &Store) -> StorageError {
    let why = || StorageError::Unwritten("the writer ended".into());
    store.close().err().unwrap_or_else(why)
}
