//! A simulated chain shared by all nodes of a test.

use std::sync::Mutex;

use bitcoin::block::{Block, Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{CompactTarget, Network, Transaction, TxIn, TxMerkleNode};
use lightning::chain::{BestBlock, Listen};

use super::TestNode;

/// A chain that grows on request.
pub(crate) struct Chain {
    tip: Mutex<(bitcoin::BlockHash, u32)>,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self {
            tip: Mutex::new((BestBlock::from_network(Network::Regtest).block_hash, 0)),
        }
    }

    /// Mines the nodes' broadcast transactions into one block. Returns its height.
    pub(crate) fn mine(&self, nodes: &[&TestNode]) -> u32 {
        let mut transactions: Vec<Transaction> = Vec::new();
        for node in nodes {
            for transaction in node.network.waiting.lock().unwrap().drain(..) {
                let conflicts = |other: &Transaction| {
                    let spent = |input: &TxIn| input.previous_output;
                    let theirs: Vec<_> = other.input.iter().map(spent).collect();
                    transaction
                        .input
                        .iter()
                        .any(|input| theirs.contains(&spent(input)))
                };
                if !transactions.iter().any(conflicts) {
                    transactions.push(transaction);
                }
            }
        }
        let mut tip = self.tip.lock().unwrap();
        let header = Header {
            version: Version::TWO,
            prev_blockhash: tip.0,
            merkle_root: TxMerkleNode::all_zeros(),
            time: tip.1 + 1,
            bits: CompactTarget::from_consensus(0),
            nonce: 0,
        };
        let block = Block {
            header,
            txdata: transactions,
        };
        *tip = (block.block_hash(), tip.1 + 1);
        for node in nodes {
            node.manager.block_connected(&block, tip.1);
            node.monitors.block_connected(&block, tip.1);
            node.spends.block_connected(&block, tip.1);
        }
        tip.1
    }
}
