//! Broadcasts that wait for the commit of the state that they depend on.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Txid};
use lightning::ln::types::ChannelId;
use serde_json::json;

use super::*;
use crate::chain::test_server::{Reply, TestServer};
use crate::channels::funding_spends::test_data::{redeem_script, witness};
use crate::node::store_adapters::StoreAdapters;
use crate::storage::Health;

const CHANNEL: ChannelId = ChannelId([3; 32]);

struct Scene {
    gate: Gate,
    store: Arc<Store>,
    spends: Arc<FundingSpends>,
    broadcaster: Arc<Broadcaster>,
    bitcoind: TestServer,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let bitcoind = TestServer::start(vec![Reply::result(json!("txid"))]);
        let broadcaster = Arc::new(Broadcaster::new(Arc::new(bitcoind.bitcoind())));
        let spends = Arc::new(FundingSpends::new(closed_channels(&store)));
        spends.watch(CHANNEL, channel_point(), redeem_script(1).to_p2wsh());
        Self {
            gate: Gate::new(store.clone(), spends.clone(), broadcaster.clone()),
            store,
            spends,
            broadcaster,
            bitcoind,
            _dir: dir,
        }
    }

    /// The number of transactions sent to bitcoind after all queued items were passed on.
    async fn sent(&self) -> usize {
        self.gate.release_committed(&|_| {}).await;
        self.broadcaster.finish().await;
        self.bitcoind.methods().len()
    }
}

fn closed_channels(store: &Arc<Store>) -> Arc<StoreAdapters> {
    Arc::new(StoreAdapters(store.clone()))
}

fn channel_point() -> OutPoint {
    OutPoint::new(Txid::from_byte_array([9; 32]), 1)
}

/// A transaction that spends the channel; `sat` makes it unique.
fn closing(sat: u64) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: channel_point(),
            sequence: Sequence::MAX,
            witness: witness(1),
            ..TxIn::default()
        }],
        output: vec![TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: ScriptBuf::new(),
        }],
    }
}

/// The same with the lock time and sequence of a commitment transaction (BOLT 3).
fn commitment(sat: u64) -> Transaction {
    let mut transaction = closing(sat);
    transaction.lock_time = LockTime::from_consensus(0x2012_3456);
    transaction.input[0].sequence = Sequence(0x8012_3456);
    transaction
}

#[tokio::test]
async fn broadcasts_wait_while_commits_fail() {
    let scene = Scene::new();
    scene.store.fill_disk();
    let mut health = scene.store.health();
    let failing = |health: &Health| matches!(health, Health::Failing(_));
    health.wait_for(failing).await.unwrap();
    scene.gate.broadcast_transactions(&[&commitment(1)]);
    let wait = Duration::from_millis(1_500);
    let released = tokio::time::timeout(wait, scene.sent()).await;
    assert!(released.is_err(), "sent before its commit");
    assert_eq!(scene.bitcoind.methods().len(), 0);
    assert_eq!(scene.spends.closing_transaction(&channel_point()), None);
    scene.store.clear_disk();
    assert_eq!(scene.sent().await, 1);
}

#[tokio::test]
async fn agreed_close_is_committed_before_broadcast_and_not_replaced_by_a_commitment() {
    let scene = Scene::new();
    scene.gate.broadcast_transactions(&[&closing(1)]);
    assert_eq!(scene.sent().await, 1);
    let stored = scene.store.agreed_closes().unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].transaction, closing(1));
    scene.gate.broadcast_transactions(&[&commitment(2)]);
    assert_eq!(scene.sent().await, 1, "the commitment was sent");
    scene.gate.repeat(closing(1));
    assert_eq!(scene.sent().await, 2);

    // As after a restart.
    let spends = FundingSpends::new(closed_channels(&scene.store));
    spends.restore(stored.into_iter().map(Into::into));
    assert!(spends.keeps_back(&[commitment(2)]) && !spends.keeps_back(&[closing(1)]));
    assert_eq!(spends.unconfirmed_closes(), [closing(1)]);
    let known = spends.closing_transaction(&channel_point()).unwrap();
    assert_eq!(known.txid, closing(1).compute_txid());
}

#[tokio::test]
async fn user_can_force_close_after_an_agreed_close() {
    let scene = Scene::new();
    scene.gate.broadcast_transactions(&[&closing(1)]);
    assert_eq!(scene.sent().await, 1);
    scene.spends.force(&channel_point());
    scene.gate.broadcast_transactions(&[&commitment(2)]);
    assert_eq!(scene.sent().await, 2);
    assert_eq!(scene.spends.unconfirmed_closes(), []);
    assert!(scene.store.agreed_closes().unwrap()[0].forced);
}

#[tokio::test]
async fn only_the_newest_version_of_a_claim_is_sent() {
    let scene = Scene::new();
    scene.gate.broadcast_transactions(&[&commitment(1)]);
    scene.gate.broadcast_transactions(&[&commitment(1)]);
    scene.gate.broadcast_transactions(&[&commitment(2)]);
    assert_eq!(scene.sent().await, 1);
    let last = scene.spends.closing_transaction(&channel_point()).unwrap();
    assert_eq!(last.txid, commitment(2).compute_txid());
}
