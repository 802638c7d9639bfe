//! bitcoind, found or downloaded, supports what the other tests need.

use std::time::Duration;

use anyhow::{Result, ensure};
use regtest::bitcoind::Bitcoind;
use regtest::paths::Scratch;
use regtest::wait::wait_for;
use serde_json::json;

#[tokio::test]
async fn mines_pays_reorganizes_and_survives_sigkill() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut bitcoind = Bitcoind::start(scratch.path()).await?;
    assert_eq!(bitcoind.height().await?, 105);

    let address = bitcoind.call("getnewaddress", json!([])).await?;
    let address = address.as_str().unwrap().to_owned();
    let txid = bitcoind.fund(&[(address.clone(), 12_345)]).await?;
    assert_eq!(bitcoind.mempool().await?, [txid]);
    bitcoind.mine(1).await?;
    assert!(bitcoind.mempool().await?.is_empty());

    let removed = bitcoind.invalidate(1).await?;
    assert_eq!(bitcoind.height().await?, 105);
    let mined = bitcoind.mine(2).await?;
    assert_eq!(bitcoind.height().await?, 107);
    assert!(!mined.contains(&removed));

    bitcoind.stop().await?;
    bitcoind.restart().await?;
    assert_eq!(bitcoind.height().await?, 107);
    bitcoind.kill()?;
    assert!(bitcoind.height().await.is_err());
    bitcoind.restart().await?;
    wait_for("the wallet", Duration::from_secs(10), async || {
        let received = bitcoind
            .call("getreceivedbyaddress", json!([address]))
            .await?;
        ensure!(received.as_f64() == Some(0.00012345), "received {received}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn accepts_other_chains_and_arguments() -> Result<()> {
    let scratch = Scratch::new()?;
    let bitcoind = Bitcoind::bare(scratch.path(), "signet", &["-prune=550"]).await?;
    let info = bitcoind.call("getblockchaininfo", json!([])).await?;
    assert_eq!(info["chain"], "signet");
    assert_eq!(info["pruned"], true);
    assert!(bitcoind.cookie_file().is_file());
    Ok(())
}

#[tokio::test]
async fn invalid_argument_fails_with_the_error_of_bitcoind() -> Result<()> {
    let scratch = Scratch::new()?;
    let started = Bitcoind::bare(scratch.path(), "regtest", &["-nonsense=1"]).await;
    let error = format!("{:#}", started.unwrap_err());
    assert!(error.contains("Invalid parameter -nonsense"), "{error}");
    Ok(())
}
