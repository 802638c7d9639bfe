//! Sets up the donation page: its socket and its data sources.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use lightning::ln::channel_state::ChannelDetails;
use lightning_types::routing::RouteHint;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use super::components::Components;
use super::core::Core;

use crate::config::{self, Config};
use crate::invoices::Subscription;
use crate::ldk::{ChannelManager, NetworkGraph};
use crate::routing::route_hints::own_hints;
use crate::web::{self, Capacity, Donations, OnChainAddress, Sources};
use ampd_files::Readers;

/// File with the actual listen address, for programs that start the node with port 0.
const ADDRESS_FILE: &str = "donations.address";

/// A donation page that is open but not served yet.
pub(super) struct Page {
    donations: Arc<Donations>,
    payments: Subscription,
    listener: TcpListener,
}

/// Opens the donation page if it is configured.
pub(super) async fn open(
    config: &Config,
    core: &Core,
    components: &Components,
) -> Result<Option<Page>, StartError> {
    let address = OnChainAddress::open(core.store.clone(), core.wallet.clone())?;
    let Some(page) = &config.donations else {
        return Ok(None);
    };
    let listener = listen(page).await?;
    let sources = sources(core, components, address);
    let (donations, payments) = Donations::open(page.clone(), sources).await?;
    let address = listener.local_addr().unwrap_or(page.listen);
    write_address(&config.network_dir(), address)?;
    tracing::info!(%address, "donation page listening");
    Ok(Some(Page {
        donations,
        payments,
        listener,
    }))
}

impl Page {
    /// Serves the page until the node stops.
    pub(super) fn spawn(self, tracker: &TaskTracker, stop: &CancellationToken) -> Arc<Donations> {
        let (donations, ended) = (self.donations.clone(), stop.clone());
        let payments = self.payments;
        tracker.spawn(async move { donations.run(payments, ended).await });
        let capacity = Capacity::of_this_process();
        let (donations, ended) = (self.donations.clone(), stop.clone());
        tracker.spawn(web::serve(donations, self.listener, capacity, ended));
        self.donations
    }
}

/// Deletes the address file at shutdown. It is only a hint for other programs.
pub(super) fn forget_address(directory: &Path) {
    // The next start writes it again.
    let _ = std::fs::remove_file(directory.join(ADDRESS_FILE));
}

async fn listen(page: &config::Donations) -> Result<TcpListener, StartError> {
    let address = page.listen;
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| StartError::DonationsListen { address, source })
}

fn write_address(directory: &Path, address: SocketAddr) -> Result<(), StartError> {
    let text = format!("{address}\n");
    ampd_files::replace(
        &directory.join(ADDRESS_FILE),
        text.as_bytes(),
        Readers::Owner,
    )?;
    Ok(())
}

fn sources(core: &Core, components: &Components, address: OnChainAddress) -> Sources {
    let (manager, graph) = (core.manager.clone(), core.graph.clone());
    Sources {
        store: core.store.clone(),
        registry: components.invoices.clone(),
        hints: Arc::new(move || hints(&manager, &graph)),
        address: Arc::new(move || address.address()),
    }
}

/// Route hints for the invoice. Empty if known public channels have at least as much inbound capacity
/// as the private ones, since the node can then be found without hints. Disconnected peers are included,
/// so that the QR code does not change.
fn hints(manager: &ChannelManager, graph: &NetworkGraph) -> Vec<RouteHint> {
    let mut channels = manager.list_channels();
    channels.retain(|channel| channel.is_channel_ready);
    let (public, private): (Vec<_>, Vec<_>) = channels
        .into_iter()
        .partition(|channel| channel.is_announced);
    let known = public.iter().filter(|channel| is_known(channel, graph));
    if inbound_msat(known) >= inbound_msat(&private) {
        return Vec::new();
    }
    let mut hints = own_hints(&private, graph, 0, &[]);
    // Not by inbound capacity, which changes with each payment.
    hints.sort_by_key(|hint| hint.0.first().map(|hop| hop.short_channel_id));
    hints
}

fn is_known(channel: &ChannelDetails, graph: &NetworkGraph) -> bool {
    let is_known = |id| graph.read_only().channel(id).is_some();
    channel.short_channel_id.is_some_and(is_known)
}

fn inbound_msat<'a>(channels: impl IntoIterator<Item = &'a ChannelDetails>) -> u64 {
    let inbound = channels.into_iter().map(|one| one.inbound_capacity_msat);
    inbound.fold(0, u64::saturating_add)
}
