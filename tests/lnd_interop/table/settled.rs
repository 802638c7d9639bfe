//! Rows of what is settled, each shard by its own preimage.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use regtest::by_hand::{Set, last_hop, random};

use super::desk::{Desk, set_expiry};
use crate::hand_made::{Sent, address};

const MSAT: i64 = 10_000_000;
const FAR_BLOCKS: u32 = 1_500;
/// A record of lnd's in update_add_htlc, which it shows among those of the onion.
const LND_EXPERIMENT: u64 = 106_823;

pub async fn one_shard_is_the_root(desk: Desk<'_>) -> Result<()> {
    let set = Set::new(random(), MSAT, &[0])?;
    desk.one.sends_set(&set, MSAT).await
}

pub async fn the_last_index_is_the_largest(desk: Desk<'_>) -> Result<()> {
    let set = Set::new(random(), 3 * MSAT, &[0, 1, u32::MAX])?;
    desk.one.sends_set(&set, MSAT).await
}

pub async fn forty_shards(desk: Desk<'_>) -> Result<()> {
    let indices: Vec<u32> = (0..40).collect();
    let set = Set::new(random(), 40 * MSAT, &indices)?;
    desk.one.sends_set(&set, MSAT).await
}

/// All first shards before all second ones.
pub async fn twenty_sets_at_once(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.amp_invoice(2 * MSAT).await?;
    let address = address(&invoice)?;
    let sets = (0..20).map(|_| Set::new(address, 2 * MSAT, &[0, 1]));
    let sets = sets.collect::<Result<Vec<_>>>()?;
    let firsts = try_join_all(sets.iter().map(async |set| -> Result<Sent> {
        let held = desk.one.start(desk.one.shard(set, 0, MSAT).await?)?;
        desk.one.wait_held(set, 1).await?;
        Ok(held)
    }))
    .await?;
    for (set, first) in sets.iter().zip(firsts) {
        let second = desk.one.sends_shard(set, 1, MSAT).await?;
        desk.one.set_settled(set, &[first.await??, second]).await?;
    }
    let found = desk.one.lookup(&invoice).await?;
    assert_eq!(found.amp_invoice_state.len(), 20);
    assert_eq!(found.amt_paid_msat, 40 * MSAT);
    Ok(())
}

pub async fn half_a_set_from_each_payer(desk: Desk<'_>) -> Result<()> {
    let set = Set::new(random(), 2 * MSAT, &[0, 1])?;
    let halves = tokio::try_join!(
        desk.one.sends_shard(&set, 0, MSAT),
        desk.other.sends_shard(&set, 1, MSAT),
    )?;
    desk.one.set_settled(&set, &[halves.0, halves.1]).await
}

pub async fn a_total_above_the_invoice(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.amp_invoice(MSAT).await?;
    let set = Set::new(address(&invoice)?, 3 * MSAT, &[0, 1, 2])?;
    desk.one.sends_set(&set, MSAT).await?;
    assert_eq!(desk.one.lookup(&invoice).await?.amt_paid_msat, 3 * MSAT);
    Ok(())
}

pub async fn shards_above_their_total(desk: Desk<'_>) -> Result<()> {
    let set = Set::new(random(), MSAT, &[0, 1])?;
    let halves = tokio::try_join!(
        desk.one.sends_shard(&set, 0, MSAT - 1),
        desk.other.sends_shard(&set, 1, MSAT - 1),
    )?;
    desk.one.set_settled(&set, &[halves.0, halves.1]).await?;
    let invoice = desk.one.invoice_of(&set).await?;
    assert_eq!(invoice.amt_paid_msat, 2 * MSAT - 2);
    Ok(())
}

pub async fn an_expiry_far_away(desk: Desk<'_>) -> Result<()> {
    let set = Set::new(random(), MSAT, &[0])?;
    let mut request = desk.one.shard(&set, 0, MSAT).await?;
    let height = desk.one.network.bitcoind.height().await? + FAR_BLOCKS;
    set_expiry(&mut request, height)?;
    let attempt = desk.one.payer()?.send_to_route(request).await?;
    desk.one.set_settled(&set, &[attempt]).await?;
    let invoice = desk.one.invoice_of(&set).await?;
    assert_eq!(invoice.htlcs[0].expiry_height, i32::try_from(height)?);
    Ok(())
}

/// Among them a message, and the one of keysend, which means nothing beside an AMP record.
pub async fn custom_records(desk: Desk<'_>) -> Result<()> {
    let records = BTreeMap::from([
        (34_349_334, b"a message".to_vec()),
        (65_536, vec![]),
        (700_001, vec![0xab; 200]),
        (5_482_373_484, random().to_vec()),
    ]);
    let set = Set::new(random(), MSAT, &[0])?;
    let mut request = desk.one.shard(&set, 0, MSAT).await?;
    last_hop(&mut request)?.custom_records = records.clone();
    let attempt = desk.one.payer()?.send_to_route(request).await?;
    desk.one.set_settled(&set, &[attempt]).await?;
    let invoice = desk.one.invoice_of(&set).await?;
    assert!(invoice.is_amp && !invoice.is_keysend);
    let mut stored = invoice.htlcs.into_iter().map(|htlc| htlc.custom_records);
    let mut stored = stored.next().context("no HTLC")?;
    stored.remove(&LND_EXPERIMENT);
    assert_eq!(stored, records);
    Ok(())
}

/// The first payment made the invoice, so the next ones must bring at least as much.
pub async fn to_one_address_again(desk: Desk<'_>) -> Result<()> {
    let first = Set::new(random(), MSAT, &[0])?;
    desk.one.sends_set(&first, MSAT).await?;
    let smaller = Set::new(first.address, MSAT - 1, &[0])?;
    let refused = desk.one.sends_shard(&smaller, 0, MSAT - 1).await?;
    desk.one.refused(&refused)?;
    let larger = Set::new(first.address, MSAT + 1, &[0])?;
    desk.one.sends_set(&larger, MSAT + 1).await?;
    let invoice = desk.one.invoice_of(&first).await?;
    assert_eq!((invoice.value_msat, invoice.htlcs.len()), (MSAT, 2));
    Ok(())
}
