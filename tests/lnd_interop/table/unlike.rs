//! Rows in which ampd does what it should, and lnd does not.

use lnd_api::proto::lnrpc::invoice::InvoiceState;
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use regtest::by_hand::{Set, last_hop, random};
use regtest::node::Software;

use super::desk::Desk;
use crate::hand_made::address;
use crate::scene::Scene;

const MSAT: i64 = 10_000_000;

/// Such a shard is nobody's but a liar's: lnd takes it.
pub async fn one_more_shard_for_a_settled_set(desk: Desk<'_>) -> Result<()> {
    let set = Set::new(random(), 2 * MSAT, &[0, 1])?;
    desk.one.sends_set(&set, MSAT).await?;
    let more = Set {
        set_id: set.set_id,
        ..Set::new(set.address, 2 * MSAT, &[2])?
    };
    let attempt = desk.other.sends_shard(&more, 0, 2 * MSAT).await?;
    if desk.one.payee_is(Software::Lnd) {
        crate::hand_made::settled(&attempt, &more.shards[0]);
        return Ok(());
    }
    desk.other.refused(&attempt)
}

/// It fails its set. With lnd, all of the invoice is over.
pub async fn a_wrong_share(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.amp_invoice(MSAT).await?;
    let address = address(&invoice)?;
    sends_a_wrong_share(desk.one, address).await?;
    let good = Set::new(address, MSAT, &[0])?;
    if desk.one.payee_is(Software::Lnd) {
        let canceled = desk.one.lookup(&invoice).await?;
        assert_eq!(canceled.state(), InvoiceState::Canceled);
        return desk
            .one
            .refused(&desk.one.sends_shard(&good, 0, MSAT).await?);
    }
    desk.one.sends_set(&good, MSAT).await
}

/// lnd never releases the HTLCs of the other set, so ampd alone is asked.
pub async fn a_wrong_share_beside_a_held_set(desk: Desk<'_>) -> Result<()> {
    if desk.one.payee_is(Software::Lnd) {
        return Ok(());
    }
    let invoice = desk.one.amp_invoice(MSAT).await?;
    let address = address(&invoice)?;
    let set = Set::new(address, 2 * MSAT, &[0, 1])?;
    let held = desk.one.start(desk.one.shard(&set, 0, MSAT).await?)?;
    desk.one.wait_held(&set, 1).await?;
    sends_a_wrong_share(desk.other, address).await?;
    desk.one.wait_held(&set, 1).await?;
    let second = desk.one.sends_shard(&set, 1, MSAT).await?;
    desk.one.set_settled(&set, &[held.await??, second]).await
}

async fn sends_a_wrong_share(scene: Scene<'_>, address: [u8; 32]) -> Result<()> {
    let set = Set::new(address, 2 * MSAT, &[0, 1])?;
    let mut requests = vec![
        scene.shard(&set, 0, MSAT).await?,
        scene.shard(&set, 1, MSAT).await?,
    ];
    let record = last_hop(&mut requests[1])?.amp_record.as_mut();
    record.context("not AMP")?.root_share[31] ^= 1;
    let payer = scene.payer()?;
    let sent = requests
        .into_iter()
        .map(|request| payer.send_to_route(request));
    let attempts = try_join_all(sent).await?;
    attempts
        .iter()
        .try_for_each(|attempt| scene.refused(attempt))
}
