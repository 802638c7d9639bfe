//! `closeallchannels` with channels in different states.

use std::time::Duration;

use anyhow::{Result, ensure};
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use serde_json::{Deserializer, Value};

use crate::ampcli::Cli;
use crate::binaries;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn active_channels_close_cooperatively_and_inactive_ones_by_force() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob", "carol"]).await?;
    let plan = |to| ChannelPlan::new("alice", to, 1_000_000).push(400_000);
    let points = network.open(&[plan("bob"), plan("carol")]).await?;
    network.kill(&["carol"])?;
    let alice = Cli {
        network: &network,
        node: &network["alice"],
    };
    wait_for("carol's channel to be inactive", LIMIT, async || {
        let inactive = alice.json(&["listchannels", "--inactive_only"])?;
        ensure!(
            inactive["channels"]
                .as_array()
                .is_some_and(|all| all.len() == 1)
        );
        Ok(())
    })
    .await?;
    let aborted = alice.answered(&["closeallchannels"], "no")?;
    ensure!(aborted.status.code() == Some(1), "{aborted:?}");
    let closed = alice.answered(&["closeallchannels", "--force", "-s"], "yes")?;
    ensure!(closed.status.success(), "{closed:?}");
    let results = results(&closed.stdout)?;
    assert_eq!(results.len(), 2, "{results:?}");
    for result in &results {
        assert_eq!(result["error"], "", "{result}");
    }
    let pending = alice.json(&["pendingchannels"])?;
    for point in &points {
        let waiting = pending["waiting_close_channels"].to_string();
        ensure!(waiting.contains(point), "{pending:#}");
    }
    network.finish();
    Ok(())
}

/// The JSON that follows the prompt.
fn results(stdout: &[u8]) -> Result<Vec<Value>> {
    let start = stdout.iter().position(|byte| *byte == b'{');
    let json = &stdout[start.unwrap_or(stdout.len())..];
    let values = Deserializer::from_slice(json).into_iter();
    Ok(values.collect::<Result<_, _>>()?)
}
