//! Rows in which the payee waits for missing shards.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ldk_amp::{Child, Share};
use lnd_api::proto::lnrpc::InvoiceHtlcState;
use lnd_api::proto::lnrpc::failure::FailureCode;
use regtest::manual_amp::{Set, Shard, random};
use regtest::node::Software;

use super::payers::TwoPayers;
use crate::manual_shards::{Sent, address, count, settled};
use crate::scene::Scene;

const MSAT: i64 = 10_000_000;
/// How long both programs hold the shards of an incomplete set.
const HOLD: Duration = Duration::from_secs(120);
/// Allowance for the delay to the payee and back to the payer.
const TRAVEL: Duration = Duration::from_secs(15);

/// A shard with a different total is rejected at once, the one before it after the timeout. Then the
/// set id can be used again.
pub(super) async fn another_total_and_the_same_set_id_again(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.amp_invoice(MSAT).await?;
    let set = Set::new(address(&invoice)?, 2 * MSAT, &[0, 1])?;
    let start = Instant::now();
    let held = payers.one.start(payers.one.shard(&set, 0, MSAT).await?)?;
    payers.one.wait_held(&set, 1).await?;
    let other_total = Set {
        set_id: set.set_id,
        ..Set::new(set.address, 2 * MSAT + 1, &[1])?
    };
    let refused = payers.other.sends_shard(&other_total, 0, MSAT).await?;
    payers.other.refused(&refused)?;
    ensure!(
        start.elapsed() < HOLD,
        "rejected after {:?}",
        start.elapsed()
    );
    timed_out(payers.one, held, start).await?;

    let again = Set {
        set_id: set.set_id,
        ..Set::new(set.address, 2 * MSAT, &[5, 6])?
    };
    payers.one.sends_set(&again, MSAT).await?;
    let found = payers.one.lookup(&invoice).await?;
    assert_eq!(found.htlcs.len(), 3);
    assert_eq!(count(&found, &set, InvoiceHtlcState::Canceled), 1);
    Ok(())
}

/// LDK rejects the second shard, so the first one times out.
pub(super) async fn one_hash_twice(payers: TwoPayers<'_>) -> Result<()> {
    let set = twins()?;
    let start = Instant::now();
    let first = payers.one.start(payers.one.shard(&set, 0, MSAT).await?)?;
    payers.one.wait_held(&set, 1).await?;
    let second = payers.other.sends_shard(&set, 1, MSAT).await?;
    if payers.one.payee_is(Software::Lnd) {
        settled(&first.await??, &set.shards[0]);
        settled(&second, &set.shards[1]);
        return Ok(());
    }
    payers.other.refused(&second)?;
    payers.one.wait_held(&set, 1).await?;
    timed_out(payers.one, first, start).await
}

/// Two identical shards, whose shares cancel each other out.
fn twins() -> Result<Set> {
    let share = random();
    let root = Share::from_bytes([0; 32]);
    let shard = || {
        let child = Child::derive(&root, &Share::from_bytes(share), 3);
        Shard {
            share,
            index: 3,
            hash: child.hash.0,
            preimage: child.preimage.0,
        }
    };
    Ok(Set {
        shards: vec![shard(), shard()],
        ..Set::new(random(), 2 * MSAT, &[])?
    })
}

async fn timed_out(scene: Scene<'_>, held: Sent, start: Instant) -> Result<()> {
    scene.failed(&held.await??, FailureCode::MppTimeout)?;
    let took = start.elapsed();
    ensure!(
        (HOLD..HOLD + TRAVEL).contains(&took),
        "the timeout took {took:?}"
    );
    Ok(())
}
