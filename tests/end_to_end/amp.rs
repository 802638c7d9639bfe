//! AMP payments to a public key.

use anyhow::Result;
use regtest::demo;

use crate::binaries;

#[tokio::test]
async fn amp_is_rejected_unless_accepted_and_then_splits_across_three_routes() -> Result<()> {
    let mut network = demo::three_routes(binaries()).await?;
    demo::refused(&network).await?;
    demo::accept_amp(&mut network).await?;
    let paid = demo::pay(&network).await?;
    assert!(paid.shards.len() >= 3);
    let mut middles: Vec<_> = paid.shards.iter().map(|shard| &shard.route[0]).collect();
    middles.sort();
    middles.dedup();
    assert_eq!(middles.len(), 3, "the shards took {middles:?}");
    network.finish();
    Ok(())
}
