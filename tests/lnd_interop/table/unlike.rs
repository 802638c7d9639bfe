//! Rows in which ampd behaves correctly and lnd does not.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use regtest::manual_amp::{Set, last_hop, random};
use regtest::node::Software;

use super::payers::TwoPayers;
use crate::manual_shards::address;
use crate::scene::Scene;

const MSAT: i64 = 10_000_000;

/// Such a shard is never legitimate, but lnd accepts it.
pub(super) async fn one_more_shard_for_a_settled_set(payers: TwoPayers<'_>) -> Result<()> {
    let set = Set::new(random(), 2 * MSAT, &[0, 1])?;
    payers.one.sends_set(&set, MSAT).await?;
    let more = Set {
        set_id: set.set_id,
        ..Set::new(set.address, 2 * MSAT, &[2])?
    };
    let attempt = payers.other.sends_shard(&more, 0, 2 * MSAT).await?;
    if payers.one.payee_is(Software::Lnd) {
        crate::manual_shards::settled(&attempt, &more.shards[0]);
        return Ok(());
    }
    payers.other.refused(&attempt)
}

/// It fails its set. lnd also cancels the invoice.
pub(super) async fn invalid_share(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.amp_invoice(MSAT).await?;
    let address = address(&invoice)?;
    sends_invalid_share(payers.one, address).await?;
    let good = Set::new(address, MSAT, &[0])?;
    if payers.one.payee_is(Software::Lnd) {
        let canceled = payers.one.lookup(&invoice).await?;
        assert_eq!(canceled.state(), InvoiceState::Canceled);
        return payers
            .one
            .refused(&payers.one.sends_shard(&good, 0, MSAT).await?);
    }
    payers.one.sends_set(&good, MSAT).await
}

/// lnd never releases the HTLCs of the other set, so only ampd is tested.
pub(super) async fn invalid_share_next_to_a_held_set(payers: TwoPayers<'_>) -> Result<()> {
    if payers.one.payee_is(Software::Lnd) {
        return Ok(());
    }
    let invoice = payers.one.amp_invoice(MSAT).await?;
    let address = address(&invoice)?;
    let set = Set::new(address, 2 * MSAT, &[0, 1])?;
    let held = payers.one.start(payers.one.shard(&set, 0, MSAT).await?)?;
    payers.one.wait_held(&set, 1).await?;
    sends_invalid_share(payers.other, address).await?;
    payers.one.wait_held(&set, 1).await?;
    let second = payers.one.sends_shard(&set, 1, MSAT).await?;
    payers.one.set_settled(&set, &[held.await??, second]).await
}

async fn sends_invalid_share(scene: Scene<'_>, address: [u8; 32]) -> Result<()> {
    let set = Set::new(address, 2 * MSAT, &[0, 1])?;
    let mut requests = vec![
        scene.shard(&set, 0, MSAT).await?,
        scene.shard(&set, 1, MSAT).await?,
    ];
    let record = last_hop(&mut requests[1])?.amp_record.as_mut();
    record.context("no AMP record")?.root_share[31] ^= 1;
    let payer = scene.payer()?;
    let sent = requests
        .into_iter()
        .map(|request| payer.send_to_route(request));
    let attempts = try_join_all(sent).await?;
    attempts
        .iter()
        .try_for_each(|attempt| scene.refused(attempt))
}
