//! The API listeners: sockets, TLS certificate and macaroon files.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::StartError;
use crate::config::{Callers, Config};
use crate::rpc::Bakery;
use crate::rpc::{self, Listeners, Names, Origins, Tls};
use crate::storage::Store;
use ampd_files::Readers;

/// Files in the network's directory with the actual addresses, which differ from the configured ones
/// if the port is 0.
const RPC_ADDRESS_FILE: &str = "rpc.address";
const REST_ADDRESS_FILE: &str = "rest.address";

/// Opens the sockets and writes the files that API clients need: certificate, macaroons, addresses.
pub(super) async fn open(
    config: &Config,
    store: &Arc<Store>,
) -> Result<(Listeners, Arc<Bakery>), StartError> {
    let bakery = Arc::new(Bakery::open(store.clone())?);
    let directory = lnd_api::layout::macaroon_directory(&config.data_dir, config.network);
    rpc::write_macaroons(&directory, &bakery).await?;
    let callers = &config.callers;
    let grpc = TcpListener::bind(callers.rpc_listen).await;
    let rest = match callers.rest_listen {
        Some(address) => Some(bind_rest(address).await?),
        None => None,
    };
    let listeners = Listeners {
        grpc: grpc.map_err(|source| StartError::RpcListen {
            address: callers.rpc_listen,
            source,
        })?,
        rest,
        tls: Tls::open(&config.data_dir, &names(callers))?,
        origins: Origins(callers.rest_cors.clone()),
    };
    write_addresses(&config.network_dir(), &listeners)?;
    Ok((listeners, bakery))
}

async fn bind_rest(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| StartError::RestListen { address, source })
}

/// The names for the certificate: this machine's, the listen addresses, and those of the configuration.
fn names(callers: &Callers) -> Names {
    let (addresses, domains) = rpc::local_names();
    let listen = [Some(callers.rpc_listen), callers.rest_listen];
    let listen = listen.into_iter().flatten().map(|address| address.ip());
    let mut addresses: BTreeSet<_> = addresses.into_iter().collect();
    addresses.extend(listen.filter(|address| !address.is_unspecified()));
    addresses.extend(&callers.tls_extra_ips);
    let domains = domains.into_iter().chain(callers.tls_extra_domains.clone());
    Names {
        addresses,
        domains: domains.collect(),
    }
}

fn write_addresses(directory: &Path, listeners: &Listeners) -> Result<(), StartError> {
    let rest = listeners.rest.as_ref();
    for (file, listener) in [
        (RPC_ADDRESS_FILE, Some(&listeners.grpc)),
        (REST_ADDRESS_FILE, rest),
    ] {
        let Some(address) = listener.and_then(|listener| listener.local_addr().ok()) else {
            continue;
        };
        let text = format!("{address}\n");
        ampd_files::replace(&directory.join(file), text.as_bytes(), Readers::Owner)?;
    }
    Ok(())
}

/// Deletes the address files at shutdown. They are only hints for other programs.
pub(super) fn forget_addresses(directory: &Path) {
    for file in [RPC_ADDRESS_FILE, REST_ADDRESS_FILE] {
        // The next start writes them again.
        let _ = std::fs::remove_file(directory.join(file));
    }
}
