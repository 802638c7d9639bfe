//! AMP to a public key.

use anyhow::Result;
use regtest::demo;

use crate::binaries;

#[tokio::test]
async fn amp_is_refused_where_it_is_not_accepted_and_else_takes_three_ways_at_once() -> Result<()> {
    let mut network = demo::three_ways(binaries()).await?;
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
