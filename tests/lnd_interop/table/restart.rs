//! The row in which the receiver crashes while holding half of a set.

use anyhow::Result;
use regtest::manual_amp::{Set, random};
use regtest::network::Network;
use regtest::wait::wait_for;

use crate::SETTLE_LIMIT;
use crate::manual_shards::address;
use crate::scene::Scene;

const MSAT: i64 = 10_000_000;

pub(super) async fn between_halves(network: &mut Network, payer: &str, payee: &str) -> Result<()> {
    let hops = [payee];
    let scene = Scene::new(network, payer, &hops);
    let invoice = scene.amp_invoice(2 * MSAT).await?;
    let set = Set::new(address(&invoice)?, 2 * MSAT, &[0, 1])?;
    let second = wait_for("a route", SETTLE_LIMIT, async || {
        scene.shard(&set, 1, MSAT).await
    })
    .await?;
    let first = scene.start(scene.shard(&set, 0, MSAT).await?)?;
    scene.wait_held(&set, 1).await?;
    // If lnd dies before its channel has recorded that the HTLC was processed, it treats the HTLC as a
    // replay, fails it, and settles its invoice with the other half alone. Later HTLCs come after that.
    let later = Set::new(random(), MSAT, &[0])?;
    scene.sends_set(&later, MSAT).await?;

    network.kill(&[payee])?;
    network.restart(&[payee]).await?;
    network.connect(payer, payee).await?;
    network.wait_usable().await?;

    let scene = Scene::new(network, payer, &hops);
    let second = scene.payer()?.send_to_route(second).await?;
    scene.set_settled(&set, &[first.await??, second]).await?;
    network.wait_settled(SETTLE_LIMIT).await
}
