//! The wallet itself: opening it, addresses, balances, coins, and following the chain.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bdk_wallet::chain::{BlockId, Merge};
use bdk_wallet::{KeychainKind, LoadError, LoadMismatch, LocalOutput, Update};
use bitcoin::address::NetworkUnchecked;
use bitcoin::bip32::Xpriv;
use bitcoin::block::Header;
use bitcoin::constants::COINBASE_MATURITY;
use bitcoin::{Address, Amount, Block, Network, OutPoint, ScriptBuf, Txid};
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BestBlock, Listen};

use super::error::WalletError;
use super::keys::AccountKey;
use super::log::{self, ChangeLog, Record};

/// Blocks without anything of ours that may be followed before the log hears of them. After a
/// crash the wallet asks for them again.
const BLOCKS_PER_RECORD: usize = 12;

/// The node's on-chain wallet. Share it behind an [`Arc`]; its lock is never held over a wait.
pub struct Wallet {
    pub(super) network: Network,
    pub(super) keys: AccountKey,
    log: Arc<dyn ChangeLog>,
    state: Mutex<State>,
}

/// What the lock guards.
pub(super) struct State {
    pub(super) bdk: bdk_wallet::Wallet,
    /// Funding transactions that only LDK may send.
    pub(super) held: BTreeSet<Txid>,
    /// Coins that LDK uses to bump its claims, with the height at which it last did.
    pub(super) claimed: HashMap<OutPoint, u32>,
    /// Seconds since 1970; grows with each use, see [`State::next_time`].
    pub(super) clock: u64,
}

/// The wallet's coins by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// In a block, spendable.
    pub confirmed: Amount,
    /// Change of our own transactions that are not yet in a block.
    pub unconfirmed: Amount,
    /// Mined by us less than 100 blocks ago.
    pub immature: Amount,
    /// Part of the sum above that is locked and not spent by us.
    pub locked: Amount,
}

impl Balance {
    /// Everything that belongs to the wallet.
    pub fn total(&self) -> Amount {
        [self.unconfirmed, self.immature]
            .into_iter()
            .try_fold(self.confirmed, Amount::checked_add)
            .unwrap_or(Amount::MAX_MONEY)
    }
}

/// One unspent output of the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its value.
    pub amount: Amount,
    /// Its address (P2WPKH).
    pub address: Address,
    /// Blocks since it was mined, its own included; 0 if it is not in a block.
    pub confirmations: u32,
    /// Whether it is change of ours.
    pub is_change: bool,
    /// Whether it is locked.
    pub locked: bool,
}

impl Wallet {
    /// Opens the wallet that `log` holds, or makes a new one with `birthday` as its first block.
    ///
    /// The log is merged into one record if it has grown long.
    ///
    /// # Errors
    /// [`WalletError::OtherSeed`], [`WalletError::OtherNetwork`], [`WalletError::Load`] and
    /// [`WalletError::Damaged`]; nothing is written then.
    pub fn open(
        master: &Xpriv,
        network: Network,
        birthday: BestBlock,
        log: Arc<dyn ChangeLog>,
    ) -> Result<Self, WalletError> {
        let keys = AccountKey::derive(master, network)?;
        let state = match log::load(&*log)? {
            Some(found) => {
                let state = load(&keys, network, found.whole)?;
                // Only now that it is known to be ours.
                if let Some(record) = found.shorter {
                    log.replace(record);
                }
                state
            }
            None => create(&keys, network, birthday)?,
        };
        let wallet = Self {
            network,
            keys,
            log,
            state: Mutex::new(state),
        };
        wallet.save(&mut wallet.lock())?;
        Ok(wallet)
    }

    /// The last block that the wallet has seen, to catch up from.
    pub fn best_block(&self) -> BestBlock {
        let tip = self.lock().bdk.latest_checkpoint();
        BestBlock::new(tip.hash(), tip.height())
    }

    /// A fresh receiving address (P2WPKH), never given out before.
    pub fn new_address(&self) -> Result<Address, WalletError> {
        self.reveal(KeychainKind::External)
    }

    /// The first receiving address that has got nothing yet (lnd's `UNUSED_WITNESS_PUBKEY_HASH`).
    pub fn unused_address(&self) -> Result<Address, WalletError> {
        let mut state = self.lock();
        let address = state
            .bdk
            .next_unused_address(KeychainKind::External)
            .address;
        self.save(&mut state)?;
        Ok(address)
    }

    /// A fresh address of ours for change and sweeps.
    pub(super) fn change_script(&self) -> Result<ScriptBuf, WalletError> {
        self.reveal(KeychainKind::Internal)
            .map(|address| address.script_pubkey())
    }

    /// The first address for change that has got nothing yet: no new one as long as there is one.
    pub(super) fn unused_change_script(&self) -> Result<ScriptBuf, WalletError> {
        let mut state = self.lock();
        let address = state
            .bdk
            .next_unused_address(KeychainKind::Internal)
            .address;
        self.save(&mut state)?;
        Ok(address.script_pubkey())
    }

    fn reveal(&self, keychain: KeychainKind) -> Result<Address, WalletError> {
        let mut state = self.lock();
        let address = state.bdk.reveal_next_address(keychain).address;
        self.save(&mut state)?;
        Ok(address)
    }

    /// Whether `script` pays to this wallet.
    pub fn is_mine(&self, script: &ScriptBuf) -> bool {
        self.lock().bdk.is_mine(script.clone())
    }

    /// Reads an address of the node's network.
    ///
    /// # Errors
    /// [`WalletError::BadAddress`] and [`WalletError::OtherNetworkAddress`].
    pub fn parse_address(&self, text: &str) -> Result<Address, WalletError> {
        let address = text.to_owned();
        match Address::<NetworkUnchecked>::from_str(text.trim()) {
            Err(e) => Err(WalletError::BadAddress {
                address,
                reason: e.to_string(),
            }),
            Ok(parsed) => {
                parsed
                    .require_network(self.network)
                    .map_err(|_| WalletError::OtherNetworkAddress {
                        address,
                        network: self.network,
                    })
            }
        }
    }

    /// The sums of all coins.
    pub fn balance(&self) -> Balance {
        let state = self.lock();
        let sums = state.bdk.balance();
        let locked = state
            .bdk
            .list_unspent()
            .filter(|c| state.bdk.is_outpoint_locked(c.outpoint));
        Balance {
            confirmed: sums.confirmed,
            unconfirmed: sums.trusted_pending + sums.untrusted_pending,
            immature: sums.immature,
            locked: locked.map(|coin| coin.txout.value).sum(),
        }
    }

    /// All coins with at least `min_confs` confirmations, mined ones only when they are mature.
    pub fn list_utxos(&self, min_confs: u32) -> Vec<Coin> {
        let state = self.lock();
        let coins = state.spendable_outputs().filter_map(|coin| {
            let script = &coin.txout.script_pubkey;
            Some(Coin {
                outpoint: coin.outpoint,
                amount: coin.txout.value,
                address: Address::from_script(script, self.network).ok()?,
                confirmations: state.confirmations(&coin),
                is_change: coin.keychain == KeychainKind::Internal,
                locked: state.bdk.is_outpoint_locked(coin.outpoint),
            })
        });
        coins
            .filter(|coin| coin.confirmations >= min_confs)
            .collect()
    }

    /// Keeps a coin from being spent until it is unlocked, also over restarts.
    pub fn lock_coin(&self, outpoint: OutPoint) -> Result<(), WalletError> {
        let mut state = self.lock();
        state.bdk.lock_outpoint(outpoint);
        self.save(&mut state)
    }

    /// Ends [`lock_coin`](Self::lock_coin).
    pub fn unlock_coin(&self, outpoint: OutPoint) -> Result<(), WalletError> {
        let mut state = self.lock();
        state.bdk.unlock_outpoint(outpoint);
        self.save(&mut state)
    }

    /// Hands everything that is not yet in the log to it, for a clean stop.
    pub fn flush(&self) -> Result<(), WalletError> {
        self.save(&mut self.lock())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what bdk has staged to the log.
    pub(super) fn save(&self, state: &mut State) -> Result<(), WalletError> {
        self.save_with(state, None)
    }

    /// The same, together with a decision on who may send a transaction.
    pub(super) fn save_with(
        &self,
        state: &mut State,
        held: Option<(Txid, bool)>,
    ) -> Result<(), WalletError> {
        let bdk = state.bdk.staged().cloned().unwrap_or_default();
        if bdk.is_empty() && held.is_none() {
            return Ok(());
        }
        let record = Record {
            bdk,
            held: held.into_iter().collect(),
        };
        self.log.append(record.to_bytes()?);
        state.bdk.take_staged();
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
            tracing::error!(%error, "wallet changes not saved");
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
        // A reorg below the wallet's first block: the only common block that it knows is genesis.
        let genesis = self.bdk.local_chain().genesis_hash();
        let genesis = BlockId {
            height: 0,
            hash: genesis,
        };
        let connected = self.bdk.apply_block_connected_to(block, height, genesis);
        connected.map_err(|e| format!("{e:?}"))
    }

    /// Blocks in which nothing happened wait for each other.
    fn is_worth_a_record(&self) -> bool {
        self.bdk.staged().is_some_and(|staged| {
            staged.local_chain.blocks.len() >= BLOCKS_PER_RECORD
                || !staged.tx_graph.is_empty()
                || !staged.indexer.is_empty()
        })
    }

    /// Unspent outputs, immature ones left out.
    pub(super) fn spendable_outputs(&self) -> impl Iterator<Item = LocalOutput> + '_ {
        self.bdk.list_unspent().filter(|coin| {
            let tx = self.bdk.tx_graph().get_tx(coin.outpoint.txid);
            !tx.is_some_and(|tx| tx.is_coinbase()) || self.confirmations(coin) >= COINBASE_MATURITY
        })
    }

    /// 1 for a coin in the best block, 0 for one in no block.
    pub(super) fn confirmations(&self, coin: &LocalOutput) -> u32 {
        let tip = self.bdk.latest_checkpoint().height();
        let mined = coin.chain_position.confirmation_height_upper_bound();
        mined.map_or(0, |height| tip.saturating_add(1).saturating_sub(height))
    }

    /// A time for bdk, which decides by it what is newest: never the same twice, so that a
    /// cancelled transaction that is made again within the second counts.
    pub(super) fn next_time(&mut self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        self.clock = now.max(self.clock.saturating_add(1));
        self.clock
    }
}

impl Listen for Wallet {
    /// Never called: the chain room hands over whole blocks.
    fn filtered_block_connected(&self, _: &Header, _: &TransactionData, height: u32) {
        tracing::error!(
            height,
            "the wallet was given a filtered block and ignores it"
        );
    }

    fn block_connected(&self, block: &Block, height: u32) {
        self.connect(block, height);
    }

    /// bdk drops the stale blocks when the first block of the better branch is connected, which
    /// follows at once. If the node stops between, the stale tip is where it catches up from.
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
        bdk,
        held: BTreeSet::new(),
        claimed: HashMap::new(),
        clock: 0,
    })
}

fn load(keys: &AccountKey, network: Network, record: Record) -> Result<State, WalletError> {
    let (held, clock) = (record.held_now(), record.latest_time());
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
        bdk,
        held,
        claimed: HashMap::new(),
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
        // The derivation of our own descriptors, or another genesis block.
        other => WalletError::Damaged(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::test_chain::{MemoryLog, TestChain, master, wallet_with};

    #[test]
    fn addresses_are_those_of_bip_84() {
        // The test vectors of BIP 84: two receiving addresses and one for change.
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon about";
        let seed = bip39::Mnemonic::parse(words).unwrap().to_seed("");
        let master = Xpriv::new_master(Network::Bitcoin, &seed).unwrap();
        let genesis = bitcoin::constants::genesis_block(Network::Bitcoin).block_hash();
        let birthday = BestBlock::new(genesis, 0);
        let log = Arc::new(MemoryLog::default());
        let wallet = Wallet::open(&master, Network::Bitcoin, birthday, log).unwrap();
        let first = wallet.new_address().unwrap().to_string();
        assert_eq!(first, "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu");
        let second = wallet.new_address().unwrap().to_string();
        assert_eq!(second, "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g");
        let change = Address::from_script(&wallet.change_script().unwrap(), Network::Bitcoin);
        assert_eq!(
            change.unwrap().to_string(),
            "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el"
        );
    }

    #[test]
    fn a_reopened_wallet_has_the_same_coins_and_no_address_twice() {
        let (mut chain, wallet, log) = wallet_with(&[10_000, 20_000]);
        let given = wallet.new_address().unwrap();
        (0..5).for_each(|_| chain.mine(&wallet, vec![]));
        let (balance, coins) = (wallet.balance(), wallet.list_utxos(0).len());
        assert_eq!(balance.total(), Amount::from_sat(30_000));
        wallet.flush().unwrap();
        let best = wallet.best_block();
        drop(wallet);

        let wallet = chain.reopen(&log);
        assert_eq!(wallet.balance(), balance);
        assert_eq!(wallet.list_utxos(0).len(), coins);
        assert_eq!(wallet.best_block(), best);
        assert_ne!(wallet.new_address().unwrap(), given);
    }

    #[test]
    fn after_a_crash_the_wallet_catches_up_from_an_earlier_block() {
        let (mut chain, wallet, log) = wallet_with(&[10_000]);
        (0..5).for_each(|_| chain.mine(&wallet, vec![]));
        let lost = wallet.best_block();
        let again = chain.reopen(&log);
        assert!(again.best_block().height < lost.height);
        assert_eq!(again.list_utxos(1).len(), 1);
        chain.replay(&again, again.best_block().height + 1);
        assert_eq!(again.best_block(), lost);
    }

    #[test]
    fn empty_blocks_share_a_record() {
        let mut chain = TestChain::new();
        let (wallet, log) = chain.open_new();
        let before = log.len();
        (0..120).for_each(|_| chain.mine(&wallet, vec![]));
        assert_eq!(log.len() - before, 120 / BLOCKS_PER_RECORD);
    }

    #[test]
    fn a_long_log_is_compacted_without_loss() {
        let (chain, wallet, log) = wallet_with(&[10_000]);
        for _ in 0..600 {
            wallet.new_address().unwrap();
        }
        let next = chain.reopen(&log);
        assert!(log.len() < 5, "{}", log.len());
        assert_eq!(next.balance(), wallet.balance());
        assert_eq!(next.new_address().unwrap(), wallet.new_address().unwrap());
    }

    #[test]
    fn a_reorg_takes_a_coin_back_and_the_other_branch_may_bring_it_again() {
        let (mut chain, wallet, log) = wallet_with(&[]);
        let payment = chain.payment_to(&wallet, 50_000);
        chain.mine(&wallet, vec![payment.clone()]);
        chain.mine(&wallet, vec![]);
        assert_eq!(wallet.balance().confirmed, Amount::from_sat(50_000));

        chain.reorg(&wallet, 2, vec![vec![], vec![], vec![]]);
        assert_eq!(wallet.best_block(), chain.best());
        assert_eq!(wallet.balance().confirmed, Amount::ZERO);
        chain.mine(&wallet, vec![payment]);
        assert_eq!(wallet.balance().confirmed, Amount::from_sat(50_000));
        wallet.flush().unwrap();
        let again = chain.reopen(&log);
        assert_eq!(again.balance(), wallet.balance());
        assert_eq!(again.best_block(), chain.best());
    }

    #[test]
    fn a_reorg_of_the_first_block_of_a_new_wallet_is_followed() {
        let mut chain = TestChain::new();
        let nobody = chain.open_new().0;
        (0..5).for_each(|_| chain.mine(&nobody, vec![]));
        for depth in 1..4 {
            let (wallet, _) = chain.open_new();
            let payment = chain.payment_to(&wallet, 50_000);
            let mut blocks = vec![vec![]; depth + 1];
            blocks[depth] = vec![payment];
            chain.reorg(&wallet, depth, blocks);
            assert_eq!(wallet.best_block(), chain.best(), "depth {depth}");
            assert_eq!(wallet.balance().confirmed, Amount::from_sat(50_000));
        }
    }

    #[test]
    fn another_seed_or_network_is_refused_and_nothing_is_written() {
        let (chain, wallet, log) = wallet_with(&[10_000]);
        drop(wallet);
        let records = log.len();
        let open = |seed, network| {
            Wallet::open(&master(seed), network, chain.best(), log.clone())
                .map(|_| ())
                .unwrap_err()
        };
        let error = open(9, Network::Regtest);
        assert!(matches!(error, WalletError::OtherSeed), "{error}");
        for network in [Network::Bitcoin, Network::Signet] {
            let error = open(1, network);
            assert!(matches!(error, WalletError::OtherNetwork { .. }), "{error}");
        }
        assert_eq!(log.len(), records);
    }

    #[test]
    fn a_damaged_log_is_an_error() {
        let chain = TestChain::new();
        for record in ["", "garbage", "{}", "[1]", "{\"bdk\":7}"] {
            let log = Arc::new(MemoryLog::default());
            log.append(record.into());
            let opened = Wallet::open(&master(1), Network::Regtest, chain.best(), log);
            let error = opened.map(|_| ()).unwrap_err();
            assert!(
                matches!(error, WalletError::Damaged(_)),
                "{record}: {error}"
            );
        }
    }

    #[test]
    fn addresses_are_checked_for_form_and_network() {
        let (_chain, wallet, _) = wallet_with(&[]);
        let own = wallet.new_address().unwrap();
        assert_eq!(wallet.parse_address(&own.to_string()).unwrap(), own);
        let mainnet = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu";
        let error = wallet.parse_address(mainnet).unwrap_err().to_string();
        let lnd = format!("address: {mainnet} is not valid for this network: regtest");
        assert_eq!(error, lnd);
        for garbage in [
            "",
            "bcrt1qqqq",
            "hello",
            "lnbcrt1",
            "1BoatSLRHtKNngkdXEeobR76b53LETtpy!",
        ] {
            let error = wallet.parse_address(garbage).unwrap_err();
            assert!(
                matches!(error, WalletError::BadAddress { .. }),
                "{garbage}: {error}"
            );
        }
    }

    #[test]
    fn coins_show_address_and_confirmations() {
        let (mut chain, wallet, _) = wallet_with(&[]);
        let payment = chain.payment_to(&wallet, 50_000);
        chain.mine(&wallet, vec![payment.clone()]);
        chain.mine(&wallet, vec![]);
        let coins = wallet.list_utxos(2);
        assert_eq!(coins.len(), 1);
        assert_eq!(coins[0].confirmations, 2);
        assert_eq!(coins[0].outpoint.txid, payment.compute_txid());
        assert!(wallet.is_mine(&coins[0].address.script_pubkey()) && !coins[0].is_change);
        assert!(wallet.list_utxos(3).is_empty());
    }
}
