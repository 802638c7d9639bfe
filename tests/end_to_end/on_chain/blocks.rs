//! Block notifications, one message per block, including reorganizations.

use anyhow::{Context, Result};
use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use lnd_api::proto::chainrpc::BlockEpoch;
use regtest::network::Network;
use serde_json::json;
use tonic::Streaming;

use super::next;
use crate::binaries;

#[tokio::test]
async fn every_block_is_reported() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let start = network.bitcoind.height().await?;
    let mut blocks = follow(&network, BlockEpoch::default()).await?;
    check(&network, &mut blocks, start..=start).await?;
    network.mine(4).await?;
    check(&network, &mut blocks, start + 1..=start + 4).await?;

    let known = epoch(&network, start + 2).await?;
    let mut later = follow(&network, known.clone()).await?;
    check(&network, &mut later, start + 3..=start + 4).await?;

    network.bitcoind.invalidate(2).await?;
    network.bitcoind.mine_empty(3).await?;
    network.wait_synced().await?;
    for blocks in [&mut blocks, &mut later] {
        check(&network, blocks, start + 3..=start + 5).await?;
    }
    let stale = BlockEpoch {
        height: known.height + 1,
        ..known
    };
    let refused = follow(&network, stale).await.err();
    let refused = refused.context("a subscription from an unknown block was accepted")?;
    assert!(
        refused.to_string().contains("is not at height"),
        "{refused}"
    );
    network.finish();
    Ok(())
}

async fn follow(network: &Network, from: BlockEpoch) -> Result<Streaming<BlockEpoch>> {
    let mut chain = network["alice"].api()?.chain;
    Ok(chain.register_block_epoch_ntfn(from).await?.into_inner())
}

/// bitcoind's block at a height.
async fn epoch(network: &Network, height: u32) -> Result<BlockEpoch> {
    let hash = network
        .bitcoind
        .call("getblockhash", json!([height]))
        .await?;
    let hash: BlockHash = hash.as_str().context("no hash")?.parse()?;
    let hash = hash.to_byte_array().to_vec();
    Ok(BlockEpoch { hash, height })
}

async fn check(
    network: &Network,
    blocks: &mut Streaming<BlockEpoch>,
    heights: std::ops::RangeInclusive<u32>,
) -> Result<()> {
    for height in heights {
        assert_eq!(next(blocks).await?, epoch(network, height).await?);
    }
    Ok(())
}
