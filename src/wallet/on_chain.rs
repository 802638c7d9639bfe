//! The wallet: opening it, balances, coins, and following the chain.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use bdk_wallet::chain::{BlockId, Merge};
use bdk_wallet::{KeychainKind, LoadError, LoadMismatch, Update};
use bitcoin::bip32::Xpriv;
use bitcoin::block::Header;
use bitcoin::{Address, Amount, Block, Network, OutPoint};
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BestBlock, Listen};
use tokio::sync::watch;

use super::error::WalletError;
use super::keys::AccountKey;
use super::log::{self, Record};
use super::state::{CachedWallet, Claims, Leases, State};
use super::store::{ChangeLog, NoteBook};
use crate::sync::lock;

/// Number of blocks without wallet transactions that share one record in the log. After a crash the wallet
/// processes them again.
const BLOCKS_PER_RECORD: usize = 12;

/// The node's on-chain wallet. Share it behind an [`Arc`]. Its lock is never held across an await point.
pub struct Wallet {
    pub(super) network: Network,
    pub(super) keys: AccountKey,
    log: Arc<dyn ChangeLog>,
    pub(super) notes: Arc<dyn NoteBook>,
    /// Counts changes to transactions.
    pub(super) changes: watch::Sender<u64>,
    state: Mutex<State>,
}

/// The wallet's balance by kind of coin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Confirmed and spendable.
    pub confirmed: Amount,
    /// Unconfirmed outputs, such as change of our own transactions.
    pub unconfirmed: Amount,
    /// Coinbase outputs with less than 100 confirmations.
    pub immature: Amount,
    /// Leased coins, not included in the sums above.
    pub locked: Amount,
}

impl Balance {
    /// The sum of all coins.
    pub fn total(&self) -> Amount {
        [self.unconfirmed, self.immature, self.locked]
            .into_iter()
            .try_fold(self.confirmed, Amount::checked_add)
            .unwrap_or(Amount::MAX_MONEY)
    }
}

/// One unspent output of the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// The outpoint.
    pub outpoint: OutPoint,
    /// Its value.
    pub amount: Amount,
    /// Its address (P2WPKH).
    pub address: Address,
    /// The number of confirmations; 0 if unconfirmed.
    pub confirmations: u32,
    /// Whether it pays to a change address.
    pub is_change: bool,
}

impl Wallet {
    /// Opens the wallet stored in `log`, or creates a new one with `birthday` as its first block.
    ///
    /// If the log has grown long, it is merged into one record.
    ///
    /// # Errors
    /// [`WalletError::OtherSeed`], [`WalletError::OtherNetwork`], [`WalletError::Load`] and
    /// [`WalletError::Damaged`]. Nothing is written in these cases.
    pub fn open(
        master: &Xpriv,
        network: Network,
        birthday: BestBlock,
        log: Arc<dyn ChangeLog>,
        notes: Arc<dyn NoteBook>,
    ) -> Result<Self, WalletError> {
        let keys = AccountKey::derive(master, network)?;
        let mut state = match log::load(&*log)? {
            Some(found) => {
                let state = load(&keys, network, found.whole)?;
                // Only after checking that the log belongs to this seed and network.
                if let Some(record) = found.shorter {
                    log.replace(record);
                }
                state
            }
            None => create(&keys, network, birthday)?,
        };
        state.leases = Leases::new(notes.leases().map_err(WalletError::Load)?);
        state.labels = notes
            .labels()
            .map_err(WalletError::Load)?
            .into_iter()
            .collect();
        let wallet = Self {
            network,
            keys,
            log,
            notes,
            changes: watch::Sender::new(0),
            state: Mutex::new(state),
        };
        wallet.save(&mut wallet.lock())?;
        Ok(wallet)
    }

    /// The last block that the wallet has processed, from which it has to catch up.
    pub fn best_block(&self) -> BestBlock {
        let tip = self.lock().bdk.latest_checkpoint();
        BestBlock::new(tip.hash(), tip.height())
    }

    /// The balance of all coins.
    pub fn balance(&self) -> Balance {
        let state = self.lock();
        let sums = state.bdk.balance();
        let mut balance = Balance {
            confirmed: sums.confirmed,
            unconfirmed: sums.trusted_pending + sums.untrusted_pending,
            immature: sums.immature,
            locked: Amount::ZERO,
        };
        for coin in state.leased_coins() {
            let value = coin.output.value;
            balance.locked += value;
            let part = match state.bdk.get_utxo(coin.lease.coin) {
                Some(utxo) if !utxo.chain_position.is_confirmed() => &mut balance.unconfirmed,
                Some(utxo) if !state.is_mature(&utxo) => &mut balance.immature,
                _ => &mut balance.confirmed,
            };
            *part = part.checked_sub(value).unwrap_or_default();
        }
        balance
    }

    /// The sum of the coins that can pay a fee immediately: confirmed, neither leased nor used by a claim of
    /// LDK.
    pub fn usable(&self) -> Amount {
        let state = self.lock();
        state.usable_outputs().map(|coin| coin.txout.value).sum()
    }

    /// All coins with at least `min_confs` confirmations, except for leased and immature ones.
    pub fn list_utxos(&self, min_confs: u32) -> Vec<Coin> {
        let state = self.lock();
        let leased = state.leased_now();
        let free = state.spendable_outputs();
        let free = free.filter(|coin| !leased.contains(&coin.outpoint));
        let coins = free.filter_map(|coin| {
            let script = &coin.txout.script_pubkey;
            Some(Coin {
                outpoint: coin.outpoint,
                amount: coin.txout.value,
                address: Address::from_script(script, self.network).ok()?,
                confirmations: state.confirmations(&coin),
                is_change: coin.keychain == KeychainKind::Internal,
            })
        });
        coins
            .filter(|coin| coin.confirmations >= min_confs)
            .collect()
    }

    /// Appends all pending changes to the log, for a clean shutdown.
    pub fn flush(&self) -> Result<(), WalletError> {
        self.save(&mut self.lock())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Appends bdk's staged changes to the log.
    pub(super) fn save(&self, state: &mut State) -> Result<(), WalletError> {
        self.save_with(state, Record::default())
    }

    /// Appends bdk's staged changes together with the other fields of `record`.
    pub(super) fn save_with(&self, state: &mut State, record: Record) -> Result<(), WalletError> {
        let bdk = state.bdk.staged().cloned().unwrap_or_default();
        let transactions_changed = !bdk.tx_graph.is_empty();
        let record = Record { bdk, ..record };
        if record.is_empty() {
            return Ok(());
        }
        self.log.append(record.to_bytes()?);
        state.bdk.take_staged();
        if transactions_changed {
            self.changes
                .send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }

    fn connect(&self, block: &Block, height: u32) {
        let mut state = self.lock();
        if let Err(error) = state.connect(block, height) {
            let hash = block.block_hash();
            tracing::error!(height, %hash, %error, "wallet cannot connect a block");
        }
        if state.is_worth_a_record()
            && let Err(error) = self.save(&mut state)
        {
            tracing::error!(%error, "cannot save wallet changes");
        }
    }
}

impl State {
    fn connect(&mut self, block: &Block, height: u32) -> Result<(), String> {
        let prev = BlockId {
            height: height.saturating_sub(1),
            hash: block.header.prev_blockhash,
        };
        if self
            .bdk
            .apply_block_connected_to(block, height, prev)
            .is_ok()
        {
            return Ok(());
        }
        // A reorg below the wallet's first block: genesis is the only common block that it knows.
        let genesis = self.bdk.local_chain().genesis_hash();
        let genesis = BlockId {
            height: 0,
            hash: genesis,
        };
        let connected = self.bdk.apply_block_connected_to(block, height, genesis);
        connected.map_err(|e| format!("{e:?}"))
    }

    /// Whether to write a record: for any relevant change, or when enough empty blocks have accumulated.
    fn is_worth_a_record(&self) -> bool {
        self.bdk.staged().is_some_and(|staged| {
            staged.local_chain.blocks.len() >= BLOCKS_PER_RECORD
                || !staged.tx_graph.is_empty()
                || !staged.indexer.is_empty()
        })
    }
}

impl Listen for Wallet {
    /// Never called: the `chain` module passes whole blocks.
    fn filtered_block_connected(&self, _: &Header, _: &TransactionData, height: u32) {
        tracing::error!(height, "the wallet ignores a filtered block; this is a bug");
    }

    fn block_connected(&self, block: &Block, height: u32) {
        self.connect(block, height);
    }

    /// Does nothing: bdk drops stale blocks when the first block of the better branch is connected, which
    /// follows immediately. If the node stops in between, it catches up from the stale tip.
    fn blocks_disconnected(&self, _: BestBlock) {}
}

fn create(keys: &AccountKey, network: Network, birthday: BestBlock) -> Result<State, WalletError> {
    let external = keys.descriptor(KeychainKind::External);
    let internal = keys.descriptor(KeychainKind::Internal);
    let mut bdk = bdk_wallet::Wallet::create(external, internal)
        .network(network)
        .create_wallet_no_persist()
        .map_err(|e| WalletError::Internal(e.to_string()))?;
    if birthday.height > 0 {
        let block = BlockId {
            height: birthday.height,
            hash: birthday.block_hash,
        };
        let chain = Some(bdk.latest_checkpoint().insert(block));
        bdk.apply_update(Update {
            chain,
            ..Update::default()
        })
        .map_err(|e| WalletError::Internal(e.to_string()))?;
    }
    Ok(State {
        bdk: CachedWallet::new(bdk),
        held: BTreeSet::new(),
        sent: BTreeSet::new(),
        leases: Leases::default(),
        labels: HashMap::new(),
        claims: Claims::default(),
        clock: 0,
    })
}

fn load(keys: &AccountKey, network: Network, record: Record) -> Result<State, WalletError> {
    let (held, clock) = (record.held_now(), record.latest_time());
    let (sent, claims) = (record.sent, Claims::new(record.claimed));
    let bdk = bdk_wallet::Wallet::load()
        .check_network(network)
        .descriptor(
            KeychainKind::External,
            Some(keys.descriptor(KeychainKind::External)),
        )
        .descriptor(
            KeychainKind::Internal,
            Some(keys.descriptor(KeychainKind::Internal)),
        )
        .load_wallet_no_persist(record.bdk)
        .map_err(load_error)?
        .ok_or_else(|| WalletError::Damaged("the first record is empty".to_owned()))?;
    Ok(State {
        bdk: CachedWallet::new(bdk),
        held,
        sent,
        leases: Leases::default(),
        labels: HashMap::new(),
        claims,
        clock,
    })
}

fn load_error(error: LoadError) -> WalletError {
    match error {
        LoadError::Mismatch(LoadMismatch::Network { loaded, expected }) => {
            WalletError::OtherNetwork {
                stored: loaded,
                ours: expected,
            }
        }
        LoadError::Mismatch(LoadMismatch::Descriptor { .. }) => WalletError::OtherSeed,
        // Derivation errors of our own descriptors, or another genesis block.
        other => WalletError::Damaged(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
