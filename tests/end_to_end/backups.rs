//! Static channel backups, which ampd does not support: its responses must not suggest otherwise.

use anyhow::{Result, ensure};
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::Ampd;
use regtest::rest::Rest;
use serde_json::json;

use crate::binaries;

#[tokio::test]
async fn exports_an_empty_backup_only_without_channels() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd), ("bob", Ampd)]).await?;
    let rest = Rest::of(&network["alice"], "readonly.macaroon")?;
    let empty = json!({
        "single_chan_backups": {"chan_backups": []},
        "multi_chan_backup": {"chan_points": [], "multi_chan_backup": ""},
    });
    let backup = rest.get("/v1/channels/backup").await?.json()?;
    assert_eq!(backup, empty);
    network
        .open(&[ChannelPlan::new("alice", "bob", 1_000_000)])
        .await?;
    let refused = rest.get("/v1/channels/backup").await?;
    ensure!(refused.status == 501, "{refused:?}");
    ensure!(
        refused
            .text
            .contains("of the 1 channels is only in the data directory"),
        "{refused:?}"
    );
    network.finish();
    Ok(())
}
