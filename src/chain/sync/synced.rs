//! Whether this node is synced to the chain.

use bitcoin::Network;

use super::{Following, Health, Tip};
use crate::clock::unix_seconds;

/// The age of the latest block, in seconds, beyond which the chain is not considered synced (lnd: two hours).
const STALE_TIP_AGE: u64 = 7_200;

impl Following {
    /// Returns whether bitcoind can be followed now.
    pub fn is_healthy(&self) -> bool {
        *self.health.borrow() == Health::Ok
    }

    /// Returns whether we are synced to the chain.
    pub fn is_synced(&self, network: Network) -> bool {
        let tip = *self.tip.borrow();
        self.is_healthy() && is_recent(network, tip, unix_seconds())
    }
}

/// Returns whether the latest block is recent. Always true on regtest, where blocks are mined on demand.
fn is_recent(network: Network, tip: Tip, now: u64) -> bool {
    network == Network::Regtest || u64::from(tip.time).saturating_add(STALE_TIP_AGE) >= now
}

#[cfg(test)]
mod tests {
    use bitcoin::BlockHash;
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn old_tip_is_unsynced_except_on_regtest() {
        let tip = Tip {
            height: 1,
            hash: BlockHash::all_zeros(),
            time: 1_000_000,
        };
        assert!(is_recent(Network::Bitcoin, tip, 1_007_200));
        assert!(!is_recent(Network::Bitcoin, tip, 1_007_201));
        assert!(is_recent(Network::Regtest, tip, u64::MAX));
    }
}
