//! The wallet's state behind its lock, and what it says about coins.

use std::collections::{BTreeSet, HashMap};

use crate::clock::unix_seconds;
use bdk_wallet::{KeychainKind, LocalOutput};
use bitcoin::constants::COINBASE_MATURITY;
use bitcoin::{Amount, OutPoint, Transaction, TxOut, Txid};

mod cached;
mod claims;
mod leases;

pub(super) use cached::CachedWallet;
pub use claims::Claim;
#[cfg(test)]
pub(super) use claims::{BLOCKS_PER_RECORD, CLAIM_BLOCKS};
pub(super) use claims::{Claims, CoinUse, drop_old_uses};
pub use leases::LeasedCoin;
pub(super) use leases::Leases;

/// The state behind the lock.
pub(super) struct State {
    pub(super) bdk: CachedWallet,
    /// Funding transactions that only LDK may broadcast.
    pub(super) held: BTreeSet<Txid>,
    /// Payments made by the user.
    pub(super) sent: BTreeSet<Txid>,
    /// Coins leased to API clients.
    pub(super) leases: Leases,
    pub(super) labels: HashMap<Txid, String>,
    /// Coins that pay for LDK's claims.
    pub(super) claims: Claims,
    /// Unix time in seconds; increases with each use, see [`State::next_time`].
    pub(super) clock: u64,
}

impl State {
    /// Unspent outputs, except for immature ones.
    pub(super) fn spendable_outputs(&self) -> impl Iterator<Item = LocalOutput> + '_ {
        self.bdk.list_unspent().filter(|coin| self.is_mature(coin))
    }

    /// Whether a coin may be spent: coinbase outputs need 100 confirmations.
    pub(super) fn is_mature(&self, coin: &LocalOutput) -> bool {
        let tx = self.bdk.tx_graph().get_tx(coin.outpoint.txid);
        !tx.is_some_and(|tx| tx.is_coinbase()) || self.confirmations(coin) >= COINBASE_MATURITY
    }

    /// The number of confirmations: 1 for a coin in the best block, 0 if unconfirmed.
    pub(super) fn confirmations(&self, coin: &LocalOutput) -> u32 {
        let mined = coin.chain_position.confirmation_height_upper_bound();
        mined.map_or(0, |height| self.blocks_since(height))
    }

    /// The number of blocks from `height` to the best block, both included.
    pub(super) fn blocks_since(&self, height: u32) -> u32 {
        let tip = self.bdk.latest_checkpoint().height();
        tip.saturating_add(1).saturating_sub(height)
    }

    /// A strictly increasing time for bdk, which orders events by it: a transaction that is cancelled and
    /// created again within one second must count as newer.
    pub(super) fn next_time(&mut self) -> u64 {
        self.clock = unix_seconds().max(self.clock.saturating_add(1));
        self.clock
    }

    /// The coins that payments may spend.
    pub(super) fn free_outputs(&self) -> impl Iterator<Item = LocalOutput> + '_ {
        let reserved = self.reserved_now();
        self.spendable_outputs()
            .filter(move |coin| !reserved.contains(&coin.outpoint))
    }

    /// The coins that a new claim could use immediately.
    pub(super) fn usable_outputs(&self) -> impl Iterator<Item = LocalOutput> + '_ {
        self.free_outputs()
            .filter(|coin| self.confirmations(coin) > 0)
    }

    /// Returns the output at `outpoint` and its key, if it is ours, spent or not.
    pub(super) fn own_output(&self, outpoint: &OutPoint) -> Option<(TxOut, KeychainKind, u32)> {
        let output = self.bdk.tx_graph().get_txout(*outpoint)?;
        let (keychain, index) = self.bdk.derivation_of_spk(output.script_pubkey.clone())?;
        Some((output.clone(), keychain, index))
    }

    /// Unconfirmed transactions that spend our coins.
    pub(super) fn pending(&self) -> impl Iterator<Item = Transaction> + '_ {
        let unconfirmed = self
            .bdk
            .transactions()
            .filter(|tx| !tx.chain_position.is_confirmed());
        let ours = unconfirmed.map(|tx| tx.tx_node.tx.as_ref().clone());
        ours.filter(|tx| self.bdk.sent_and_received(tx).0 > Amount::ZERO)
    }

    /// The coins that payments must not spend: leased ones, and those that LDK's claims may use again.
    pub(super) fn reserved_now(&self) -> Vec<OutPoint> {
        let tip = self.bdk.latest_checkpoint().height();
        self.claims.coins(tip).chain(self.leased_now()).collect()
    }

    /// The coins that are leased now.
    pub(super) fn leased_now(&self) -> BTreeSet<OutPoint> {
        let leases = self.leases.current(unix_seconds());
        leases.map(|lease| lease.coin).collect()
    }

    /// The leases that have not expired, of unspent coins.
    pub(super) fn leased_coins(&self) -> impl Iterator<Item = LeasedCoin> + '_ {
        self.leases.current(unix_seconds()).filter_map(|lease| {
            let output = self.bdk.get_utxo(lease.coin)?.txout;
            Some(LeasedCoin {
                lease: *lease,
                output,
            })
        })
    }
}
