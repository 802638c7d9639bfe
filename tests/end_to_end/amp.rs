//! AMP to a public key.

use anyhow::Result;
use regtest::demo;

use crate::binaries;

#[tokio::test]
async fn amp_takes_three_ways_at_once_and_is_refused_where_it_is_not_accepted() -> Result<()> {
    let mut network = demo::three_ways(binaries()).await?;
    let paid = demo::pay(&network).await?;
    assert!(paid.shards.len() >= 3);
    let mut middles: Vec<_> = paid.shards.iter().map(|shard| &shard.way[0]).collect();
    middles.sort();
    middles.dedup();
    assert_eq!(middles.len(), 3, "the shards took {middles:?}");

    demo::refused(&mut network).await?;
    network.finish();
    Ok(())
}
