//! An "internal error" of lnd does not close the channel.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use regtest::api::amp_to;
use regtest::network::Network;
use regtest::node::Node;
use regtest::node::Software::{Ampd, Lnd};
use regtest::trials;
use regtest::wait::wait_for;

use crate::SETTLE_LIMIT;
use crate::scene::{Scene, row};

const MSAT: u64 = 10_000_000;
/// In sat: any HTLC exceeds it, which causes an "internal error" in lnd.
const EXPOSURE: (&str, &str) = ("channel-max-fee-exposure", "1");
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> trials::Trials {
    trials![channel_survives_internal_errors_of_lnd]
}

async fn channel_survives_internal_errors_of_lnd() -> Result<()> {
    let mut network = row(&[("payer", Ampd), ("payee", Lnd)]).await?;
    let channel = network["payer"].api()?.channels().await?.remove(0);

    restart_lnd(&mut network, |lnd| lnd.set_raw(EXPOSURE.0, EXPOSURE.1)).await?;
    network.wait_usable().await?;
    let request = amp_to(network["payee"].key(), MSAT)?;
    let payer = network["payer"].api()?;
    let payment = tokio::spawn(async move { payer.pay(request).await });
    wait_for("two internal errors", LIMIT, async || {
        let log = fs::read_to_string(network["payer"].log())?;
        let errors = log
            .matches("reported an internal error; reconnecting")
            .count();
        ensure!(errors >= 2, "{errors} internal errors");
        Ok(())
    })
    .await?;

    restart_lnd(&mut network, |lnd| lnd.unset(EXPOSURE.0)).await?;
    let payment = payment.await??;
    assert_eq!(payment.status(), PaymentStatus::Succeeded, "{payment:?}");
    network.wait_settled(SETTLE_LIMIT).await?;
    let channels = network["payer"].api()?.channels().await?;
    let [same] = &channels[..] else {
        anyhow::bail!("{channels:?}");
    };
    assert_eq!(same.channel_point, channel.channel_point);
    // The channel carries the next payment.
    let scene = Scene::new(&network, "payer", &["payee"]);
    scene.pays(&amp_to(scene.payee_key(), MSAT)?).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn restart_lnd(network: &mut Network, change: impl FnOnce(&mut Node)) -> Result<()> {
    let status = network["payee"].stop().await?;
    ensure!(status.success(), "lnd exited with {status}");
    change(&mut network["payee"]);
    network
        .restart(&["payee"])
        .await
        .context("cannot restart lnd")
}
