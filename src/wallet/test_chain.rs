//! A simulated regtest chain and an in-memory log, for the wallet's tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bitcoin::bip32::Xpriv;
use bitcoin::block::{Header, Version};
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{
    Address, Amount, Block, Network, OutPoint, ScriptBuf, Transaction, TxIn, TxMerkleNode, TxOut,
    Txid, WPubkeyHash, absolute, ecdsa, transaction,
};
use lightning::chain::{BestBlock, Listen};

use super::{ChangeLog, ChangeLogError, Lease, NoteBook, Wallet};

#[derive(Default)]
pub(super) struct MemoryLog {
    records: Mutex<Vec<Vec<u8>>>,
    labels: Mutex<HashMap<Txid, String>>,
    leases: Mutex<HashMap<OutPoint, Lease>>,
}

impl MemoryLog {
    pub(super) fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }
}

impl ChangeLog for MemoryLog {
    fn load(&self) -> Result<Vec<Vec<u8>>, ChangeLogError> {
        Ok(self.records.lock().unwrap().clone())
    }

    fn append(&self, record: Vec<u8>) {
        self.records.lock().unwrap().push(record);
    }

    fn replace(&self, record: Vec<u8>) {
        *self.records.lock().unwrap() = vec![record];
    }
}

impl NoteBook for MemoryLog {
    fn labels(&self) -> Result<Vec<(Txid, String)>, ChangeLogError> {
        let labels = self.labels.lock().unwrap().clone();
        Ok(labels.into_iter().collect())
    }

    fn leases(&self) -> Result<Vec<Lease>, ChangeLogError> {
        Ok(self.leases.lock().unwrap().values().copied().collect())
    }

    fn put_label(&self, txid: Txid, label: &str) {
        self.labels.lock().unwrap().insert(txid, label.to_owned());
    }

    fn put_lease(&self, lease: Lease, _: u64) {
        self.leases.lock().unwrap().insert(lease.coin, lease);
    }

    fn drop_lease(&self, coin: OutPoint) {
        self.leases.lock().unwrap().remove(&coin);
    }
}

pub(super) fn master(seed: u8) -> Xpriv {
    Xpriv::new_master(Network::Regtest, &[seed; 64]).unwrap()
}

pub(super) fn foreign_address() -> Address {
    let script = ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([7; 20]));
    Address::from_script(&script, Network::Regtest).unwrap()
}

/// A wallet with a confirmed coin of each of these values, in sat.
pub(super) fn wallet_with(coins: &[u64]) -> (TestChain, Wallet, Arc<MemoryLog>) {
    let mut chain = TestChain::new();
    let (wallet, log) = chain.open_new();
    let payments: Vec<_> = coins
        .iter()
        .map(|sat| chain.payment_to(&wallet, *sat))
        .collect();
    chain.mine(&wallet, payments);
    (chain, wallet, log)
}

pub(super) struct TestChain {
    blocks: Vec<Block>,
    outputs: HashMap<OutPoint, TxOut>,
    /// Makes every transaction and block unique.
    serial: u32,
}

impl TestChain {
    pub(super) fn new() -> Self {
        let blocks = vec![genesis_block(Network::Regtest)];
        Self {
            blocks,
            outputs: HashMap::new(),
            serial: 0,
        }
    }

    pub(super) fn best(&self) -> BestBlock {
        let height = u32::try_from(self.blocks.len() - 1).unwrap();
        BestBlock::new(self.blocks[self.blocks.len() - 1].block_hash(), height)
    }

    pub(super) fn open_new(&self) -> (Wallet, Arc<MemoryLog>) {
        let log = Arc::new(MemoryLog::default());
        (self.reopen(&log), log)
    }

    pub(super) fn reopen(&self, log: &Arc<MemoryLog>) -> Wallet {
        let best = self.best();
        Wallet::open(&master(1), Network::Regtest, best, log.clone(), log.clone()).unwrap()
    }

    /// A new wallet with another seed.
    pub(super) fn open_seed(&self, seed: u8) -> Wallet {
        let log = Arc::new(MemoryLog::default());
        Wallet::open(
            &master(seed),
            Network::Regtest,
            self.best(),
            log.clone(),
            log,
        )
        .unwrap()
    }

    /// A foreign transaction that pays to a new address of `wallet`.
    pub(super) fn payment_to(&mut self, wallet: &Wallet, sat: u64) -> Transaction {
        let address = wallet.new_address().unwrap();
        self.payment_at(&address, sat)
    }

    /// A transaction that pays this address.
    pub(super) fn payment_at(&mut self, address: &Address, sat: u64) -> Transaction {
        let parent = bitcoin::Txid::from_byte_array([1; 32]);
        self.transaction(OutPoint::new(parent, 0), address.script_pubkey(), sat)
    }

    fn transaction(&mut self, from: OutPoint, to: ScriptBuf, sat: u64) -> Transaction {
        self.serial += 1;
        let previous_output = OutPoint {
            vout: from.vout.saturating_add(self.serial),
            ..from
        };
        let input = vec![TxIn {
            previous_output,
            ..TxIn::default()
        }];
        let output = vec![TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: to,
        }];
        let (version, lock_time) = (transaction::Version::TWO, absolute::LockTime::ZERO);
        Transaction {
            version,
            lock_time,
            input,
            output,
        }
    }

    /// Adds a block with these transactions and connects it to `wallet`.
    pub(super) fn mine(&mut self, wallet: &Wallet, txs: Vec<Transaction>) {
        self.mine_with(wallet, foreign_address().script_pubkey(), 0, txs);
    }

    /// Adds a block whose subsidy goes to `script`.
    pub(super) fn mine_to(&mut self, wallet: &Wallet, script: ScriptBuf, sat: u64) {
        self.mine_with(wallet, script, sat, vec![]);
    }

    fn mine_with(&mut self, wallet: &Wallet, to: ScriptBuf, sat: u64, txs: Vec<Transaction>) {
        let mut coinbase = self.transaction(OutPoint::null(), to, sat);
        coinbase.input[0].previous_output = OutPoint::null();
        coinbase.lock_time = absolute::LockTime::from_consensus(self.serial);
        let txdata: Vec<_> = std::iter::once(coinbase).chain(txs).collect();
        for tx in &txdata {
            let txid = tx.compute_txid();
            let outputs = (0..)
                .map(|vout| OutPoint { txid, vout })
                .zip(tx.output.iter().cloned());
            self.outputs.extend(outputs);
        }
        let tip = self.best();
        let header = Header {
            version: Version::TWO,
            prev_blockhash: tip.block_hash,
            merkle_root: TxMerkleNode::from_byte_array([0; 32]),
            time: 1_700_000_000 + tip.height,
            bits: self.blocks[0].header.bits,
            nonce: self.serial,
        };
        let block = Block { header, txdata };
        wallet.block_connected(&block, tip.height + 1);
        self.blocks.push(block);
    }

    /// Connects the blocks from `height` on again.
    pub(super) fn replay(&self, wallet: &Wallet, height: u32) {
        for (height, block) in (0..).zip(&self.blocks).skip(height as usize) {
            wallet.block_connected(block, height);
        }
    }

    /// Replaces the last `depth` blocks with blocks of these transactions.
    pub(super) fn reorg(&mut self, wallet: &Wallet, depth: usize, blocks: Vec<Vec<Transaction>>) {
        self.blocks.truncate(self.blocks.len() - depth);
        wallet.blocks_disconnected(self.best());
        for txs in blocks {
            self.mine(wallet, txs);
        }
    }

    pub(super) fn outputs_spent_by(&self, tx: &Transaction) -> Vec<TxOut> {
        tx.input
            .iter()
            .map(|input| self.outputs[&input.previous_output].clone())
            .collect()
    }

    /// Verifies the signature (BIP 143) of each input that spends an output of this chain.
    pub(super) fn check_p2wpkh_signatures(&self, tx: &Transaction) {
        let secp = Secp256k1::verification_only();
        let mut cache = SighashCache::new(tx);
        let mut checked = 0;
        for (index, input) in tx.input.iter().enumerate() {
            let Some(output) = self.outputs.get(&input.previous_output) else {
                continue;
            };
            let signature = ecdsa::Signature::from_slice(&input.witness[0]).unwrap();
            let key = PublicKey::from_slice(&input.witness[1]).unwrap();
            let hash = bitcoin::CompressedPublicKey(key).wpubkey_hash();
            assert_eq!(output.script_pubkey, ScriptBuf::new_p2wpkh(&hash));
            let all = EcdsaSighashType::All;
            let script = &output.script_pubkey;
            let sighash = cache
                .p2wpkh_signature_hash(index, script, output.value, all)
                .unwrap();
            secp.verify_ecdsa(&Message::from(sighash), &signature.signature, &key)
                .unwrap();
            checked += 1;
        }
        assert!(checked > 0);
    }
}
