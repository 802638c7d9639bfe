//! bdk's wallet with its unspent outputs in memory.
//!
//! bdk computes balance and unspent outputs from all transactions that the wallet ever had. API clients ask
//! for them often, and they change only with a block, a transaction or a cancelled one.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use bdk_wallet::LocalOutput;
use bitcoin::OutPoint;

/// bdk's wallet. Access to change it is by [`DerefMut`], which forgets what was computed.
pub(in crate::wallet) struct CachedWallet {
    bdk: bdk_wallet::Wallet,
    unspent: OnceCell<Unspent>,
    balance: OnceCell<bdk_wallet::Balance>,
}

struct Unspent {
    /// In bdk's order.
    coins: Vec<LocalOutput>,
    /// The places in `coins`.
    places: HashMap<OutPoint, usize>,
}

impl CachedWallet {
    pub(in crate::wallet) fn new(bdk: bdk_wallet::Wallet) -> Self {
        Self {
            bdk,
            unspent: OnceCell::new(),
            balance: OnceCell::new(),
        }
    }

    /// The same as [`bdk_wallet::Wallet::list_unspent`].
    pub(in crate::wallet) fn list_unspent(&self) -> impl Iterator<Item = LocalOutput> + '_ {
        self.unspent().coins.iter().cloned()
    }

    /// The same as [`bdk_wallet::Wallet::get_utxo`].
    pub(in crate::wallet) fn get_utxo(&self, outpoint: OutPoint) -> Option<LocalOutput> {
        let unspent = self.unspent();
        let place = *unspent.places.get(&outpoint)?;
        unspent.coins.get(place).cloned()
    }

    /// The same as [`bdk_wallet::Wallet::balance`].
    pub(in crate::wallet) fn balance(&self) -> bdk_wallet::Balance {
        self.balance.get_or_init(|| self.bdk.balance()).clone()
    }

    fn unspent(&self) -> &Unspent {
        self.unspent.get_or_init(|| {
            let coins: Vec<_> = self.bdk.list_unspent().collect();
            let places = coins.iter().map(|coin| coin.outpoint).zip(0..);
            Unspent {
                places: places.collect(),
                coins,
            }
        })
    }
}

impl Deref for CachedWallet {
    type Target = bdk_wallet::Wallet;

    fn deref(&self) -> &bdk_wallet::Wallet {
        &self.bdk
    }
}

impl DerefMut for CachedWallet {
    fn deref_mut(&mut self) -> &mut bdk_wallet::Wallet {
        self.unspent.take();
        self.balance.take();
        &mut self.bdk
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::{Amount, FeeRate};

    use crate::wallet::test_chain::{foreign_address, wallet_with};
    use crate::wallet::{Outputs, Spend, Wallet};

    /// Asserts that what is in memory is what bdk says, twice: the first call may compute it.
    fn assert_current(wallet: &Wallet) {
        let state = wallet.lock();
        for _ in 0..2 {
            let cached: Vec<_> = state.bdk.list_unspent().collect();
            let computed: Vec<_> = state.bdk.bdk.list_unspent().collect();
            assert_eq!(cached, computed);
            for coin in computed {
                assert_eq!(state.bdk.get_utxo(coin.outpoint), Some(coin));
            }
            assert_eq!(state.bdk.balance(), state.bdk.bdk.balance());
        }
    }

    #[test]
    fn coins_in_memory_follow_blocks_payments_cancellations_and_reorgs() {
        let (mut chain, wallet, _) = wallet_with(&[60_000, 70_000]);
        assert_current(&wallet);
        let own = wallet.new_address().unwrap().script_pubkey();
        chain.mine_to(&wallet, own, 50_000);
        assert_current(&wallet);
        let spend = Spend {
            outputs: Outputs::one(foreign_address().script_pubkey(), Amount::from_sat(40_000)),
            fee_rate: FeeRate::from_sat_per_vb(2).unwrap(),
            min_confs: 1,
            reserve: Amount::ZERO,
            coins: vec![],
        };
        let sent = wallet.send(&spend).unwrap();
        assert_current(&wallet);
        wallet.cancel(sent.compute_txid()).unwrap();
        assert_current(&wallet);
        let sent = wallet.send(&spend).unwrap();
        chain.mine(&wallet, vec![sent]);
        assert_current(&wallet);
        let unconfirmed = chain.payment_to(&wallet, 5_000);
        wallet.note_unconfirmed(&unconfirmed).unwrap();
        assert_current(&wallet);
        chain.reorg(&wallet, 2, vec![vec![], vec![unconfirmed], vec![]]);
        assert_current(&wallet);
    }

    #[test]
    fn an_unchanged_wallet_computes_nothing_again() {
        let (mut chain, wallet, _) = wallet_with(&[60_000]);
        let is_known = || {
            let state = wallet.lock();
            (
                state.bdk.unspent.get().is_some(),
                state.bdk.balance.get().is_some(),
            )
        };
        wallet.balance();
        wallet.usable();
        assert_eq!(is_known(), (true, true));
        wallet.list_utxos(1);
        wallet.leases();
        wallet.transactions();
        assert_eq!(is_known(), (true, true));
        chain.mine(&wallet, vec![]);
        assert_eq!(is_known(), (false, false));
    }
}
