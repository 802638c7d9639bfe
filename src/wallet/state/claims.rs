//! The coins that LDK's on-chain claims use, by coin.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bitcoin::OutPoint;
use serde::{Deserialize, Serialize};

/// Number of blocks after which a coin is free for payments if its claim has not used it again.
pub(in crate::wallet) const CLAIM_BLOCKS: u32 = 144;

/// Number of blocks after which continued use of a coin is logged again.
pub(in crate::wallet) const BLOCKS_PER_RECORD: u32 = CLAIM_BLOCKS / 4;

/// Time after which an unused claim is considered finished. LDK repeats each pending claim every 30 s.
const CLAIM_LIFE: Duration = Duration::from_secs(600);

/// A claim that needs coins of the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The id, the same for all transactions that replace each other.
    pub id: [u8; 32],
    /// Whether it claims HTLCs, or closes a channel with pending HTLCs.
    pub urgent: bool,
}

/// The last use of a coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wallet) struct CoinUse {
    claim: Claim,
    /// Height of the wallet's best block at that time.
    height: u32,
}

/// All coins that claims have used.
#[derive(Debug, Default)]
pub(in crate::wallet) struct Claims(HashMap<OutPoint, (CoinUse, Instant)>);

impl Claims {
    /// Restores stored uses. All of them count as alive, because LDK may repeat them.
    pub(in crate::wallet) fn new(stored: BTreeMap<OutPoint, CoinUse>) -> Self {
        let now = Instant::now();
        let uses = stored.into_iter();
        Self(uses.map(|(coin, last)| (coin, (last, now))).collect())
    }

    /// Coins that payments must not spend.
    pub(in crate::wallet) fn coins(&self, tip: u32) -> impl Iterator<Item = OutPoint> {
        let recent = move |last: &CoinUse| tip.saturating_sub(last.height) < CLAIM_BLOCKS;
        let recent = self.0.iter().filter(move |(_, (last, _))| recent(last));
        recent.map(|(coin, _)| *coin)
    }

    /// Returns the other live claim that uses this coin.
    pub(in crate::wallet) fn other(&self, coin: &OutPoint, id: [u8; 32]) -> Option<Claim> {
        let (last, at) = self.0.get(coin)?;
        (last.claim.id != id && at.elapsed() < CLAIM_LIFE).then_some(last.claim)
    }

    /// Whether a claim has used coins within the last ten minutes.
    pub(in crate::wallet) fn is_alive(&self, id: [u8; 32]) -> bool {
        let mut uses = self.0.values();
        uses.any(|(last, at)| last.claim.id == id && at.elapsed() < CLAIM_LIFE)
    }

    /// Records that a claim uses these coins at this height. Returns the uses that have to be written to the
    /// log.
    pub(in crate::wallet) fn record(
        &mut self,
        claim: Claim,
        coins: Vec<OutPoint>,
        height: u32,
    ) -> BTreeMap<OutPoint, CoinUse> {
        let last = CoinUse { claim, height };
        let recorded = coins.into_iter().filter(|coin| self.put(*coin, last));
        recorded.map(|coin| (coin, last)).collect()
    }

    /// Forgets coins, except for those that `keep` accepts.
    pub(in crate::wallet) fn retain(&mut self, keep: impl Fn(&OutPoint) -> bool) {
        self.0.retain(|coin, _| keep(coin));
    }

    /// Records a use. Returns whether it has to be written to the log.
    fn put(&mut self, coin: OutPoint, last: CoinUse) -> bool {
        if let Some((before, at)) = self.0.get_mut(&coin)
            && before.claim == last.claim
            && last.height < before.height.saturating_add(BLOCKS_PER_RECORD)
        {
            *at = Instant::now();
            return false;
        }
        self.0.insert(coin, (last, Instant::now()));
        true
    }
}

/// Keeps only uses that are relevant at height `tip`, for compacting the log.
pub(in crate::wallet) fn drop_old_uses(claimed: &mut BTreeMap<OutPoint, CoinUse>, tip: u32) {
    claimed.retain(|_, last| tip.saturating_sub(last.height) < CLAIM_BLOCKS);
}
