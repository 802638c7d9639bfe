//! Converts between short channel ids and funding outputs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::{BlockHash, OutPoint, Txid};
use lightning::util::scid_utils::{
    block_from_scid, scid_from_parts, tx_index_from_scid, vout_from_scid,
};
use serde::Deserialize;
use serde_json::json;

use super::bitcoind::Bitcoind;
use super::error::ChainError;
use crate::sync::lock;

/// Maximum number of blocks fetched per request: one or two seconds of bitcoind's time. The rest is fetched
/// by later requests.
const MAX_BLOCKS_PER_REQUEST: usize = 100;

/// Looks up funding outputs with bitcoind and caches them.
pub struct Fundings {
    bitcoind: Arc<Bitcoind>,
    known: Mutex<HashMap<u64, OutPoint>>,
}

/// Channels whose funding outputs are looked up: what is known already, and the rest by block.
pub struct LookUp {
    found: HashMap<u64, OutPoint>,
    unknown: BTreeMap<u32, Vec<u64>>,
}

/// The fields of `gettxout` that are needed.
#[derive(Deserialize)]
struct Unspent {
    confirmations: u32,
    bestblock: BlockHash,
}

/// The fields of `getblockheader` that are needed.
#[derive(Deserialize)]
struct Header {
    height: u32,
}

impl Fundings {
    /// Creates a look-up with an empty cache.
    pub fn new(bitcoind: Arc<Bitcoind>) -> Self {
        Self {
            bitcoind,
            known: Mutex::default(),
        }
    }

    /// Looks up the funding outputs of these channels among those that are known.
    pub fn look_up(&self, scids: impl IntoIterator<Item = u64>) -> LookUp {
        let known = self.known();
        let mut found = HashMap::new();
        let mut unknown: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for scid in scids {
            match known.get(&scid) {
                Some(point) => drop(found.insert(scid, *point)),
                None => unknown.entry(block_from_scid(scid)).or_default().push(scid),
            }
        }
        LookUp { found, unknown }
    }

    /// Returns the funding outputs of these channels. Missing are those that bitcoind does not have (a
    /// pruned one lacks old blocks) and those beyond the limit of 100 blocks per request.
    pub async fn points(&self, look_up: LookUp) -> HashMap<u64, OutPoint> {
        let LookUp { mut found, unknown } = look_up;
        // Newest first: if a pruned bitcoind lacks a block, it lacks all older ones.
        for (height, scids) in unknown.into_iter().rev().take(MAX_BLOCKS_PER_REQUEST) {
            let Ok(txids) = self.txids(height).await else {
                break;
            };
            let points = scids
                .iter()
                .filter_map(|scid| Some((*scid, point(*scid, &txids)?)));
            let points: Vec<_> = points.collect();
            self.known().extend(points.iter().copied());
            found.extend(points);
        }
        found
    }

    /// Returns the short channel id of the channel with this funding output; `None` if the output does not
    /// exist or is spent.
    ///
    /// # Errors
    /// If bitcoind does not respond.
    pub async fn scid(&self, point: &OutPoint) -> Result<Option<u64>, ChainError> {
        let (txid, vout) = (point.txid, point.vout);
        let params = [json!(txid), json!(vout), json!(false)];
        let unspent: Option<Unspent> = self.bitcoind.call("gettxout", &params).await?;
        let Some(unspent) = unspent else {
            return Ok(None);
        };
        let params = [json!(unspent.bestblock)];
        let tip: Header = self.bitcoind.call("getblockheader", &params).await?;
        // An output of the best block has one confirmation.
        let below = unspent.confirmations.saturating_sub(1);
        let height = tip.height.saturating_sub(below);
        let txids = self.txids(height).await?;
        let index = txids.iter().position(|known| *known == txid);
        let Some(index) = index.and_then(|index| u64::try_from(index).ok()) else {
            return Ok(None);
        };
        Ok(scid_from_parts(height.into(), index, vout.into()).ok())
    }

    async fn txids(&self, height: u32) -> Result<Vec<Txid>, ChainError> {
        let hash = self.bitcoind.block_hash(height).await?;
        self.bitcoind.block_txids(&hash).await
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, OutPoint>> {
        lock(&self.known)
    }
}

/// Finds the funding output among the transactions of its block.
fn point(scid: u64, txids: &[Txid]) -> Option<OutPoint> {
    let index = usize::try_from(tx_index_from_scid(scid)).ok()?;
    let vout = vout_from_scid(scid).into();
    Some(OutPoint::new(*txids.get(index)?, vout))
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use serde_json::Value;

    use super::*;
    use crate::chain::test_server::{Reply, TestServer};

    fn txid(number: u8) -> Txid {
        Txid::from_byte_array([number; 32])
    }

    fn block() -> Reply {
        Reply::result(json!({ "tx": [txid(1), txid(2)] }))
    }

    fn hash() -> Reply {
        Reply::result(json!(txid(9)))
    }

    fn fundings(replies: Vec<Reply>) -> Fundings {
        Fundings::new(Arc::new(TestServer::start(replies).bitcoind()))
    }

    #[tokio::test]
    async fn channels_are_looked_up_once() {
        let fundings = fundings(vec![hash(), block(), Reply::empty("500 Broken")]);
        let (here, beyond) = (100 << 40 | 1 << 16 | 7, 100 << 40 | 2 << 16);
        for _ in 0..2 {
            let found = fundings
                .points(fundings.look_up([here, here, beyond]))
                .await;
            assert_eq!(found.len(), 1);
            assert_eq!(found[&here], OutPoint::new(txid(2), 7));
        }
    }

    #[tokio::test]
    async fn scid_of_an_unspent_output_is_found() {
        let unspent = json!({"confirmations": 3, "bestblock": txid(9)});
        let tip = Reply::result(json!({"height": 102}));
        let replies = vec![Reply::result(unspent), tip, hash(), block()];
        let scid = fundings(replies).scid(&OutPoint::new(txid(2), 7)).await;
        assert_eq!(scid.unwrap(), Some(100 << 40 | 1 << 16 | 7));
        let spent = fundings(vec![Reply::result(Value::Null)]);
        let scid = spent.scid(&OutPoint::new(txid(2), 7)).await;
        assert_eq!(scid.unwrap(), None);
    }
}
