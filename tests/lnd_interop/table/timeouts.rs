//! Rows in which the payee waits for shards that never come.

use std::time::{Duration, Instant};

use ldk_amp::{Child, Share};
use lnd_api::proto::lnrpc::InvoiceHtlcState;
use lnd_api::proto::lnrpc::failure::FailureCode;
use anyhow::{Result, ensure};
use regtest::by_hand::{Set, Shard, random};
use regtest::node::Software;

use super::desk::Desk;
use crate::hand_made::{Sent, address, count, settled};
use crate::scene::Scene;

const MSAT: i64 = 10_000_000;
/// How long both hold a shard of a set that is not complete.
const HOLD: Duration = Duration::from_secs(120);
/// What it may take to reach the payee before that, and the payer after it.
const TRAVEL: Duration = Duration::from_secs(15);

/// The shard that names another total is refused at once, the one before it when its time is over.
/// Then the set id is as good as new.
pub async fn another_total_and_the_same_set_id_again(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.amp_invoice(MSAT).await?;
    let set = Set::new(address(&invoice)?, 2 * MSAT, &[0, 1])?;
    let start = Instant::now();
    let held = desk.one.start(desk.one.shard(&set, 0, MSAT).await?)?;
    desk.one.wait_held(&set, 1).await?;
    let other_total = Set {
        set_id: set.set_id,
        ..Set::new(set.address, 2 * MSAT + 1, &[1])?
    };
    let refused = desk.other.sends_shard(&other_total, 0, MSAT).await?;
    desk.other.refused(&refused)?;
    ensure!(
        start.elapsed() < HOLD,
        "refused after {:?}",
        start.elapsed()
    );
    timed_out(desk.one, held, start).await?;

    let again = Set {
        set_id: set.set_id,
        ..Set::new(set.address, 2 * MSAT, &[5, 6])?
    };
    desk.one.sends_set(&again, MSAT).await?;
    let found = desk.one.lookup(&invoice).await?;
    assert_eq!(found.htlcs.len(), 3);
    assert_eq!(count(&found, &set, InvoiceHtlcState::Canceled), 1);
    Ok(())
}

/// LDK refuses the second, and the first waits for another one in vain.
pub async fn one_hash_twice(desk: Desk<'_>) -> Result<()> {
    let set = twins()?;
    let start = Instant::now();
    let first = desk.one.start(desk.one.shard(&set, 0, MSAT).await?)?;
    desk.one.wait_held(&set, 1).await?;
    let second = desk.other.sends_shard(&set, 1, MSAT).await?;
    if desk.one.payee_is(Software::Lnd) {
        settled(&first.await??, &set.shards[0]);
        settled(&second, &set.shards[1]);
        return Ok(());
    }
    desk.other.refused(&second)?;
    desk.one.wait_held(&set, 1).await?;
    timed_out(desk.one, first, start).await
}

/// Two shards that are the same: their shares cancel each other out.
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
    ensure!((HOLD..HOLD + TRAVEL).contains(&took), "it took {took:?}");
    Ok(())
}
