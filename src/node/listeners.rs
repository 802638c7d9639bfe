//! The sockets that the node listens on, bound before any task starts, so that a port in use ends the
//! start at once.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::components::Components;
use super::core::Core;
use super::donations::{self, Page};
use super::{StartError, api_listeners};
use crate::config::Config;
use crate::peers::listen;
use crate::rpc::{self, Bakery};
use ampd_files::Readers;

/// File with the actual P2P listen addresses, for programs that start the node with port 0.
const LISTEN_ADDRESS_FILE: &str = "listen.address";

/// Bound sockets, and what is served on them.
pub(super) struct Listeners {
    pub(super) peers: Vec<TcpListener>,
    pub(super) donation_page: Option<Page>,
    pub(super) api: rpc::Listeners,
    pub(super) bakery: Arc<Bakery>,
}

impl Listeners {
    /// Binds all sockets of the configuration and writes the address files.
    pub(super) async fn open(
        config: &Config,
        core: &Core,
        components: &Components,
    ) -> Result<Self, StartError> {
        let peers = listen::bind(&config.listen)?;
        let donation_page = donations::open(config, core, components).await?;
        let (api, bakery) = api_listeners::open(config, &core.store).await?;
        write_listening(&config.network_dir(), &peers)?;
        Ok(Self {
            peers,
            donation_page,
            api,
            bakery,
        })
    }
}

/// Writes the actual addresses of the sockets for peers.
fn write_listening(directory: &Path, peers: &[TcpListener]) -> Result<(), StartError> {
    let addresses = peers.iter().filter_map(|socket| socket.local_addr().ok());
    let lines: Vec<String> = addresses.map(|address| address.to_string()).collect();
    let text = lines.join("\n") + "\n";
    let path = directory.join(LISTEN_ADDRESS_FILE);
    ampd_files::replace(&path, text.as_bytes(), Readers::Owner)?;
    Ok(())
}

/// Deletes the address files at shutdown.
pub(super) fn forget_addresses(directory: &Path) {
    api_listeners::forget_addresses(directory);
    donations::forget_address(directory);
    // Only a hint for other programs; the next start writes it again.
    let _ = std::fs::remove_file(directory.join(LISTEN_ADDRESS_FILE));
}
