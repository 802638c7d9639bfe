//! The `ChainNotifier` service: block notifications.

use std::collections::VecDeque;
use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::chain::sync::Tip;
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::parse::hash;
use crate::rpc::transport::streams::{Answers, stream};
use crate::wallet::Wallet;
use lnd_api::proto::chainrpc::BlockEpoch;
use lnd_api::proto::chainrpc::chain_notifier_server::ChainNotifier;

/// Number of sent blocks to remember per subscriber, to find the fork point of a reorg. Deeper reorgs
/// are not expected.
const MAX_REMEMBERED_BLOCKS: usize = 144;

/// Implements lnd's `ChainNotifier` service.
pub(in crate::rpc) struct ChainNotifierService {
    context: Arc<Context>,
    /// Cancelled when the RPC server stops.
    stop: CancellationToken,
}

impl ChainNotifierService {
    pub(in crate::rpc) fn new(context: Arc<Context>, stop: CancellationToken) -> Self {
        Self { context, stop }
    }
}

#[tonic::async_trait]
impl ChainNotifier for ChainNotifierService {
    type RegisterBlockEpochNtfnStream = Answers<BlockEpoch>;

    async fn register_block_epoch_ntfn(
        &self,
        request: Request<BlockEpoch>,
    ) -> Result<Response<Self::RegisterBlockEpochNtfnStream>, Status> {
        let blocks = begin(&self.context, request.get_ref())?;
        let answers = follow(self.context.clone(), self.stop.clone(), blocks);
        Ok(Response::new(answers))
    }
}

/// Starts after the block in the request, which the client already knows, or else with the best block.
fn begin(context: &Context, request: &BlockEpoch) -> Result<SentBlocks, Status> {
    let has_block = request.height != 0 && request.hash.iter().any(|byte| *byte != 0);
    if !has_block {
        return Ok(SentBlocks::default());
    }
    let block = (
        request.height,
        BlockHash::from_byte_array(hash(&request.hash)?),
    );
    let blocks = context.wallet.blocks_from(request.height);
    if blocks.is_none_or(|blocks| blocks.first() != Some(&block)) {
        let height = request.height;
        return Err(refused(format!(
            "block {} is not at height {height} in the chain that this node follows",
            block.1
        )));
    }
    Ok(SentBlocks(VecDeque::from([block])))
}

fn follow(
    context: Arc<Context>,
    stop: CancellationToken,
    mut sent: SentBlocks,
) -> Answers<BlockEpoch> {
    let mut tips = context.chain.tip.clone();
    stream(stop, move |writer| async move {
        loop {
            let tip = *tips.borrow_and_update();
            for (height, hash) in sent.take_new(tip, &context.wallet) {
                let hash = hash.to_byte_array().to_vec();
                writer.send(BlockEpoch { hash, height }).await;
            }
            if tips.changed().await.is_err() {
                return Ok(());
            }
        }
    })
}

/// The last blocks sent to a subscriber, lowest first.
#[derive(Default)]
struct SentBlocks(VecDeque<(u32, BlockHash)>);

impl SentBlocks {
    /// Returns the blocks to send: those after the last sent block up to the best block, or after a
    /// reorg those from the fork point. The tip may have advanced by several blocks.
    fn take_new(&mut self, tip: Tip, wallet: &Wallet) -> Vec<(u32, BlockHash)> {
        let best = (tip.height, tip.hash);
        while let Some((height, hash)) = self.0.back() {
            match wallet.blocks_from(*height) {
                Some(blocks) if blocks.first() == Some(&(*height, *hash)) => {
                    return self.record(blocks.into_iter().skip(1).collect());
                }
                _ => self.0.pop_back(),
            };
        }
        self.record(vec![best])
    }

    fn record(&mut self, blocks: Vec<(u32, BlockHash)>) -> Vec<(u32, BlockHash)> {
        self.0.extend(&blocks);
        let surplus = self.0.len().saturating_sub(MAX_REMEMBERED_BLOCKS);
        self.0.drain(..surplus);
        blocks
    }
}
