//! The `ChainNotifier` service: blocks.

use std::collections::VecDeque;
use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::Rooms;
use super::errors::refused;
use super::input::hash;
use super::streams::{Answers, stream};
use crate::chain::sync::Tip;
use crate::wallet::Wallet;
use lnd_api::proto::chainrpc::BlockEpoch;
use lnd_api::proto::chainrpc::chain_notifier_server::ChainNotifier;

/// Blocks that a follower remembers, to find the fork of a reorg. Deeper ones do not happen.
const REMEMBERED: usize = 144;

/// Translates for the rooms.
pub(super) struct ChainNotifierService {
    rooms: Arc<Rooms>,
    /// The server's end, not only the node's.
    stop: CancellationToken,
}

impl ChainNotifierService {
    pub(super) fn new(rooms: Arc<Rooms>, stop: CancellationToken) -> Self {
        Self { rooms, stop }
    }
}

#[tonic::async_trait]
impl ChainNotifier for ChainNotifierService {
    type RegisterBlockEpochNtfnStream = Answers<BlockEpoch>;

    async fn register_block_epoch_ntfn(
        &self,
        request: Request<BlockEpoch>,
    ) -> Result<Response<Self::RegisterBlockEpochNtfnStream>, Status> {
        let blocks = begin(&self.rooms, request.get_ref())?;
        let answers = follow(self.rooms.clone(), self.stop.clone(), blocks);
        Ok(Response::new(answers))
    }
}

/// With a block in the request that one is told already, else the follower begins with the best one.
fn begin(rooms: &Rooms, request: &BlockEpoch) -> Result<Told, Status> {
    let named = request.height != 0 && request.hash.iter().any(|byte| *byte != 0);
    if !named {
        return Ok(Told::default());
    }
    let block = (
        request.height,
        BlockHash::from_byte_array(hash(&request.hash)?),
    );
    let blocks = rooms.wallet.blocks_from(request.height);
    if blocks.is_none_or(|blocks| blocks.first() != Some(&block)) {
        let height = request.height;
        return Err(refused(format!(
            "block {} is not at height {height} of the chain that this node has followed",
            block.1
        )));
    }
    Ok(Told(VecDeque::from([block])))
}

fn follow(rooms: Arc<Rooms>, stop: CancellationToken, mut told: Told) -> Answers<BlockEpoch> {
    let mut tips = rooms.chain.tip.clone();
    stream(stop, move |writer| async move {
        loop {
            let tip = *tips.borrow_and_update();
            for (height, hash) in told.news(tip, &rooms.wallet) {
                let hash = hash.to_byte_array().to_vec();
                writer.send(BlockEpoch { hash, height }).await;
            }
            if tips.changed().await.is_err() {
                return Ok(());
            }
        }
    })
}

/// The blocks that a follower was told of last, lowest first.
#[derive(Default)]
struct Told(VecDeque<(u32, BlockHash)>);

impl Told {
    /// The blocks that lead from the last one that was told to the best one; after a reorg, from the
    /// fork. Several may have come since the follower was asked last.
    fn news(&mut self, tip: Tip, wallet: &Wallet) -> Vec<(u32, BlockHash)> {
        let best = (tip.height, tip.hash);
        while let Some((height, hash)) = self.0.back() {
            match wallet.blocks_from(*height) {
                Some(blocks) if blocks.first() == Some(&(*height, *hash)) => {
                    return self.told(blocks.into_iter().skip(1).collect());
                }
                _ => self.0.pop_back(),
            };
        }
        self.told(vec![best])
    }

    fn told(&mut self, blocks: Vec<(u32, BlockHash)>) -> Vec<(u32, BlockHash)> {
        self.0.extend(&blocks);
        let surplus = self.0.len().saturating_sub(REMEMBERED);
        self.0.drain(..surplus);
        blocks
    }
}
