//! Opens the resources that do I/O: the data directory, the seed, the database, bitcoind.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use lightning::chain::BestBlock;
use lightning::sign::{NodeSigner, Recipient};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::StartError;
use super::seed::{self, Seed, WalletKey};
use crate::chain::{Bitcoind, ChainInfo, FeeEstimates, RpcAddress, RpcAuth};
use crate::config::{BitcoindAuth, Config};
use crate::ldk::KeysManager;
use crate::storage::{DirectoryLock, Store};
use ldk_amp::EnvelopeKey;
use lnd_api::layout::network_name;

/// The resources opened at startup.
pub(super) struct Resources {
    pub(super) lock: DirectoryLock,
    pub(super) store: Arc<Store>,
    pub(super) keys: Arc<KeysManager>,
    pub(super) wallet_key: WalletKey,
    pub(super) envelope_key: EnvelopeKey,
    pub(super) bitcoind: Arc<Bitcoind>,
    pub(super) chain_info: ChainInfo,
    pub(super) fees: Arc<FeeEstimates>,
}

/// Opens all resources. Existing files and bitcoind are checked before new files are created, so that
/// a failed start leaves the directory unchanged.
pub(super) async fn open(
    config: &Config,
    stop: &CancellationToken,
) -> Result<Resources, StartError> {
    let directory = config.network_dir();
    create(&directory)?;
    let lock = DirectoryLock::take(&directory)?;
    let seed = Seed::read(&directory)?;
    refuse_lost_seed(&directory, seed.is_some())?;
    let mut opened = match &seed {
        Some(seed) => Some(open_store(config, seed)?),
        None => None,
    };
    let bitcoind = Arc::new(bitcoind(config));
    let chain_info = bitcoind.wait_until_ready(stop).await?;
    bitcoind.check_methods().await?;
    let fees = Arc::new(FeeEstimates::default());
    if let Err(error) = fees.refresh(&bitcoind).await {
        tracing::warn!("no fee estimates yet, using defaults: {error}");
    }
    let seed = match seed {
        Some(seed) => seed,
        None => Seed::create(&directory)?,
    };
    let (store, keys) = match opened.take() {
        Some(opened) => opened,
        None => open_store(config, &seed)?,
    };
    Ok(Resources {
        lock,
        store,
        keys,
        wallet_key: seed.wallet_key(config.network)?,
        envelope_key: EnvelopeKey::from_seed(&seed.lightning_seed()),
        bitcoind,
        chain_info,
        fees,
    })
}

impl Resources {
    /// bitcoind's best block at startup, at which a new node begins.
    pub(super) fn best_block(&self) -> BestBlock {
        BestBlock::new(self.chain_info.best_block, self.chain_info.blocks)
    }
}

/// Creates the directory with mode 0700.
fn create(directory: &Path) -> Result<(), StartError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(|source| StartError::Directory {
        path: directory.to_owned(),
        source,
    })
}

/// Refuses to start with a database but no seed: with a new seed, its channels could never be closed.
fn refuse_lost_seed(directory: &Path, has_seed: bool) -> Result<(), StartError> {
    let database = Store::path_in(directory);
    if !has_seed && database.exists() {
        return Err(StartError::SeedMissing {
            seed: seed::path(directory),
            database,
        });
    }
    Ok(())
}

/// Opens the database and checks that it belongs to this node.
fn open_store(config: &Config, seed: &Seed) -> Result<(Arc<Store>, Arc<KeysManager>), StartError> {
    let keys = keys(&seed.lightning_seed())?;
    let node_id = keys
        .get_node_id(Recipient::Node)
        .map_err(|()| StartError::Seed {
            path: seed::path(&config.network_dir()),
            reason: "no node key can be derived from it".into(),
        })?;
    let store = Store::open(&config.network_dir())?;
    store.claim(network_name(config.network), &node_id.to_string())?;
    Ok((Arc::new(store), Arc::new(keys)))
}

/// LDK's keys. LDK derives its randomness from the start time, which must never repeat; hence the
/// nanoseconds.
fn keys(seed: &Zeroizing<[u8; 32]>) -> Result<KeysManager, StartError> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| StartError::Clock)?;
    Ok(KeysManager::new(
        seed,
        now.as_secs(),
        now.subsec_nanos(),
        true,
    ))
}

fn bitcoind(config: &Config) -> Bitcoind {
    let address = RpcAddress {
        host: config.bitcoind.rpc_address.host.clone(),
        port: config.bitcoind.rpc_address.port,
    };
    let auth = match &config.bitcoind.auth {
        BitcoindAuth::Password { user, password } => RpcAuth::UserPassword {
            user: user.clone(),
            password: Zeroizing::new(password.expose().to_owned()),
        },
        BitcoindAuth::Cookie(path) => RpcAuth::Cookie(path.clone()),
    };
    Bitcoind::new(address, auth, config.network)
}
