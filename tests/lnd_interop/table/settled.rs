//! Rows with sets that are settled, each shard with its own preimage.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use regtest::manual_amp::{Set, last_hop, random};

use super::payers::{TwoPayers, set_expiry};
use crate::manual_shards::{Sent, address};

const MSAT: i64 = 10_000_000;
const FAR_BLOCKS: u32 = 1_500;
/// An experimental record of lnd in update_add_htlc, listed among the onion's custom records.
const LND_EXPERIMENT: u64 = 106_823;

pub(super) async fn one_shard_is_the_root(payers: TwoPayers<'_>) -> Result<()> {
    let set = Set::new(random(), MSAT, &[0])?;
    payers.one.sends_set(&set, MSAT).await
}

pub(super) async fn the_last_index_is_the_largest(payers: TwoPayers<'_>) -> Result<()> {
    let set = Set::new(random(), 3 * MSAT, &[0, 1, u32::MAX])?;
    payers.one.sends_set(&set, MSAT).await
}

pub(super) async fn forty_shards(payers: TwoPayers<'_>) -> Result<()> {
    let indices: Vec<u32> = (0..40).collect();
    let set = Set::new(random(), 40 * MSAT, &indices)?;
    payers.one.sends_set(&set, MSAT).await
}

/// All first shards are sent before all second ones.
pub(super) async fn twenty_sets_at_once(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.amp_invoice(2 * MSAT).await?;
    let address = address(&invoice)?;
    let sets = (0..20).map(|_| Set::new(address, 2 * MSAT, &[0, 1]));
    let sets = sets.collect::<Result<Vec<_>>>()?;
    let firsts = try_join_all(sets.iter().map(async |set| -> Result<Sent> {
        let held = payers.one.start(payers.one.shard(set, 0, MSAT).await?)?;
        payers.one.wait_held(set, 1).await?;
        Ok(held)
    }))
    .await?;
    for (set, first) in sets.iter().zip(firsts) {
        let second = payers.one.sends_shard(set, 1, MSAT).await?;
        payers
            .one
            .set_settled(set, &[first.await??, second])
            .await?;
    }
    let found = payers.one.lookup(&invoice).await?;
    assert_eq!(found.amp_invoice_state.len(), 20);
    assert_eq!(found.amt_paid_msat, 40 * MSAT);
    Ok(())
}

pub(super) async fn half_a_set_from_each_payer(payers: TwoPayers<'_>) -> Result<()> {
    let set = Set::new(random(), 2 * MSAT, &[0, 1])?;
    let halves = tokio::try_join!(
        payers.one.sends_shard(&set, 0, MSAT),
        payers.other.sends_shard(&set, 1, MSAT),
    )?;
    payers.one.set_settled(&set, &[halves.0, halves.1]).await
}

pub(super) async fn a_total_above_the_invoice(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.amp_invoice(MSAT).await?;
    let set = Set::new(address(&invoice)?, 3 * MSAT, &[0, 1, 2])?;
    payers.one.sends_set(&set, MSAT).await?;
    assert_eq!(payers.one.lookup(&invoice).await?.amt_paid_msat, 3 * MSAT);
    Ok(())
}

pub(super) async fn shards_above_their_total(payers: TwoPayers<'_>) -> Result<()> {
    let set = Set::new(random(), MSAT, &[0, 1])?;
    let halves = tokio::try_join!(
        payers.one.sends_shard(&set, 0, MSAT - 1),
        payers.other.sends_shard(&set, 1, MSAT - 1),
    )?;
    payers.one.set_settled(&set, &[halves.0, halves.1]).await?;
    let invoice = payers.one.invoice_of(&set).await?;
    assert_eq!(invoice.amt_paid_msat, 2 * MSAT - 2);
    Ok(())
}

pub(super) async fn an_expiry_far_away(payers: TwoPayers<'_>) -> Result<()> {
    let set = Set::new(random(), MSAT, &[0])?;
    let mut request = payers.one.shard(&set, 0, MSAT).await?;
    let height = payers.one.network.bitcoind.height().await? + FAR_BLOCKS;
    set_expiry(&mut request, height)?;
    let attempt = payers.one.payer()?.send_to_route(request).await?;
    payers.one.set_settled(&set, &[attempt]).await?;
    let invoice = payers.one.invoice_of(&set).await?;
    assert_eq!(invoice.htlcs[0].expiry_height, i32::try_from(height)?);
    Ok(())
}

/// Includes a message and the keysend record, which has no meaning next to an AMP record.
pub(super) async fn custom_records(payers: TwoPayers<'_>) -> Result<()> {
    let records = BTreeMap::from([
        (34_349_334, b"a message".to_vec()),
        (65_536, vec![]),
        (700_001, vec![0xab; 200]),
        (5_482_373_484, random().to_vec()),
    ]);
    let set = Set::new(random(), MSAT, &[0])?;
    let mut request = payers.one.shard(&set, 0, MSAT).await?;
    last_hop(&mut request)?.custom_records = records.clone();
    let attempt = payers.one.payer()?.send_to_route(request).await?;
    payers.one.set_settled(&set, &[attempt]).await?;
    let invoice = payers.one.invoice_of(&set).await?;
    assert!(invoice.is_amp && !invoice.is_keysend);
    let mut stored = invoice.htlcs.into_iter().map(|htlc| htlc.custom_records);
    let mut stored = stored.next().context("no HTLC")?;
    stored.remove(&LND_EXPERIMENT);
    assert_eq!(stored, records);
    Ok(())
}

/// The first payment created the invoice, so later ones must pay at least as much.
pub(super) async fn to_one_address_again(payers: TwoPayers<'_>) -> Result<()> {
    let first = Set::new(random(), MSAT, &[0])?;
    payers.one.sends_set(&first, MSAT).await?;
    let smaller = Set::new(first.address, MSAT - 1, &[0])?;
    let refused = payers.one.sends_shard(&smaller, 0, MSAT - 1).await?;
    payers.one.refused(&refused)?;
    let larger = Set::new(first.address, MSAT + 1, &[0])?;
    payers.one.sends_set(&larger, MSAT + 1).await?;
    let invoice = payers.one.invoice_of(&first).await?;
    assert_eq!((invoice.value_msat, invoice.htlcs.len()), (MSAT, 2));
    Ok(())
}
