//! Leases: coins reserved for API clients that spend them themselves, until the lease expires.

use bitcoin::{Amount, OutPoint};

use super::error::WalletError;
use super::on_chain::Wallet;
use super::state::{LeasedCoin, State};
use super::store::Lease;
use crate::clock::unix_seconds;

impl Wallet {
    /// Reserves a coin for the given number of seconds, across restarts. Returns the expiry in Unix seconds.
    /// Repeating the call with the same id sets a new expiry. Coins worth `reserve` must remain without a
    /// lease.
    ///
    /// # Errors
    /// [`WalletError::UnknownCoin`] if it is not an unspent output of the wallet;
    /// [`WalletError::LeasedAlready`] if it is leased under another id; [`WalletError::Reserve`].
    pub fn lease(
        &self,
        coin: OutPoint,
        id: [u8; 32],
        seconds: u64,
        reserve: Amount,
    ) -> Result<u64, WalletError> {
        let (mut state, now) = (self.lock(), unix_seconds());
        if state.bdk.get_utxo(coin).is_none() {
            return Err(WalletError::UnknownCoin);
        }
        if state
            .leases
            .of(&coin, now)
            .is_some_and(|lease| lease.id != id)
        {
            return Err(WalletError::LeasedAlready);
        }
        state.check_reserve_without(coin, reserve)?;
        Ok(self.put_lease(&mut state, coin, id, seconds).expires_at)
    }

    /// Releases a lease. Does nothing if there is none.
    ///
    /// # Errors
    /// [`WalletError::UnknownCoin`] if it is not an unspent output of the wallet;
    /// [`WalletError::OtherLease`] if it is leased under another id.
    pub fn end_lease(&self, coin: OutPoint, id: [u8; 32]) -> Result<(), WalletError> {
        let mut state = self.lock();
        if state.bdk.get_utxo(coin).is_none() {
            return Err(WalletError::UnknownCoin);
        }
        let Some(lease) = state.leases.of(&coin, unix_seconds()) else {
            return Ok(());
        };
        if lease.id != id {
            return Err(WalletError::OtherLease);
        }
        state.leases.remove(&coin);
        self.notes.drop_lease(coin);
        Ok(())
    }

    /// The leases that have not expired, of unspent coins.
    pub fn leases(&self) -> Vec<LeasedCoin> {
        self.lock().leased_coins().collect()
    }

    /// Stores a lease without further checks.
    pub(super) fn put_lease(
        &self,
        state: &mut State,
        coin: OutPoint,
        id: [u8; 32],
        seconds: u64,
    ) -> Lease {
        let now = unix_seconds();
        let expires_at = now.saturating_add(seconds);
        let lease = Lease {
            coin,
            id,
            expires_at,
        };
        state.leases.put(lease, now);
        self.notes.put_lease(lease, now);
        lease
    }
}

impl State {
    /// Checks that the reserve is available without this coin. Always passes if the coin does not count
    /// towards the reserve.
    fn check_reserve_without(&self, coin: OutPoint, reserve: Amount) -> Result<(), WalletError> {
        let mut counts = false;
        let others = self.usable_outputs().filter(|other| {
            counts |= other.outpoint == coin;
            other.outpoint != coin
        });
        let left: Amount = others.map(|other| other.txout.value).sum();
        if counts && left < reserve {
            return Err(WalletError::Reserve { left, reserve });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::test_chain::wallet_with;

    const ID: [u8; 32] = [7; 32];
    const OTHER: [u8; 32] = [8; 32];

    #[test]
    fn lease_reserves_its_coin_across_restarts() {
        let (chain, wallet, log) = wallet_with(&[100_000, 30_000]);
        let coins = wallet.list_utxos(1);
        let coin = coins.iter().find(|c| c.amount.to_sat() == 100_000);
        let coin = coin.unwrap().outpoint;
        let end = wallet.lease(coin, ID, 600, Amount::ZERO).unwrap();
        for wallet in [wallet, chain.reopen(&log)] {
            let leases = wallet.leases();
            assert_eq!(leases.len(), 1);
            assert_eq!(leases[0].lease.expires_at, end);
            assert_eq!(leases[0].output.value, Amount::from_sat(100_000));
            let balance = wallet.balance();
            assert_eq!(balance.locked, Amount::from_sat(100_000));
            assert_eq!(balance.confirmed, Amount::from_sat(30_000));
            assert_eq!(balance.total(), Amount::from_sat(130_000));
            assert_eq!(wallet.list_utxos(1).len(), 1);
        }
        chain.reopen(&log).end_lease(coin, ID).unwrap();
        let wallet = chain.reopen(&log);
        assert!(wallet.leases().is_empty());
        assert_eq!(wallet.balance().confirmed, Amount::from_sat(130_000));
    }

    #[test]
    fn lease_can_only_be_changed_with_its_id() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let coin = wallet.list_utxos(1)[0].outpoint;
        let first = wallet.lease(coin, ID, 600, Amount::ZERO).unwrap();
        let error = wallet.lease(coin, OTHER, 600, Amount::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "output already locked");
        let error = wallet.end_lease(coin, OTHER).unwrap_err();
        assert_eq!(error.to_string(), "output unlock not alowed");
        assert!(wallet.lease(coin, ID, 1200, Amount::ZERO).unwrap() >= first + 600);
        wallet.end_lease(coin, ID).unwrap();
        wallet.end_lease(coin, OTHER).unwrap();
        wallet.lease(coin, OTHER, u64::MAX, Amount::ZERO).unwrap();
        for unknown in [OutPoint::null(), OutPoint { vout: 9, ..coin }] {
            let error = wallet.lease(unknown, ID, 600, Amount::ZERO).unwrap_err();
            assert_eq!(error.to_string(), "unknown output");
            assert!(wallet.end_lease(unknown, ID).is_err());
        }
    }

    #[test]
    fn reserve_must_remain_without_a_lease() {
        let (_chain, wallet, _) = wallet_with(&[100_000, 30_000]);
        let reserve = Amount::from_sat(50_000);
        let coins = wallet.list_utxos(1);
        let (large, small): (Vec<_>, Vec<_>) = coins
            .iter()
            .partition(|coin| coin.amount.to_sat() == 100_000);
        let error = wallet.lease(large[0].outpoint, ID, 600, reserve);
        assert!(
            matches!(error, Err(WalletError::Reserve { .. })),
            "{error:?}"
        );
        wallet.lease(small[0].outpoint, ID, 600, reserve).unwrap();
        // Renewed, although less than the reserve would be left.
        let more = Amount::from_sat(120_000);
        wallet.lease(small[0].outpoint, ID, 900, more).unwrap();
        assert_eq!(wallet.usable(), Amount::from_sat(100_000));
    }

    #[test]
    fn expired_lease_has_no_effect() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let coin = wallet.list_utxos(1)[0].outpoint;
        wallet.lease(coin, ID, 0, Amount::ZERO).unwrap();
        assert!(wallet.leases().is_empty());
        assert_eq!(wallet.list_utxos(1).len(), 1);
        wallet.lease(coin, OTHER, 600, Amount::ZERO).unwrap();
    }
}
