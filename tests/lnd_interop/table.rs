//! What a payee does with shards made by hand, one function for each row of the table in
//! docs/lnd-compatibility.md. lnd sends them to ampd, and ampd to lnd.

mod desk;
mod own_checks;
mod refused;
mod restart;
mod settled;
mod timeouts;
mod unlike;

use anyhow::{Context, Result};
use regtest::node::Software::{Ampd, Lnd};

use crate::lnd_is_here;
use crate::scene::row;
use desk::Desk;

#[tokio::test]
async fn what_is_settled_and_what_is_refused() -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
    let network = desk::open().await?;
    for desk in desk::all(&network) {
        answers(desk)
            .await
            .with_context(|| desk.one.payee_name().to_owned())?;
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn answers(desk: Desk<'_>) -> Result<()> {
    macro_rules! run {
        ($($module:ident :: $row:ident),* $(,)?) => {$(
            $module::$row(desk).await.context(stringify!($row))?;
        )*};
    }
    run![
        settled::one_shard_is_the_root,
        settled::the_last_index_is_the_largest,
        settled::forty_shards,
        settled::twenty_sets_at_once,
        settled::half_a_set_from_each_payer,
        settled::a_total_above_the_invoice,
        settled::shards_above_their_total,
        settled::an_expiry_far_away,
        settled::custom_records,
        settled::to_one_address_again,
        refused::a_total_below_the_invoice,
        refused::a_set_id_of_zeros,
        refused::the_set_id_of_another_invoice,
        refused::no_amp_record_for_an_amp_invoice,
        refused::an_amp_record_for_an_ordinary_invoice,
        refused::an_expiry_too_soon,
        refused::a_canceled_invoice,
        own_checks::of_the_sender,
        unlike::one_more_shard_for_a_settled_set,
        unlike::a_wrong_share,
        unlike::a_wrong_share_beside_a_held_set,
    ];
    Ok(())
}

/// All at the same time, since each row waits for two minutes.
#[tokio::test]
async fn what_times_out() -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
    let network = desk::open().await?;
    let [ampd, lnd] = desk::all(&network);
    tokio::try_join!(
        timeouts::another_total_and_the_same_set_id_again(ampd),
        timeouts::another_total_and_the_same_set_id_again(lnd),
        timeouts::one_hash_twice(ampd),
        timeouts::one_hash_twice(lnd),
    )?;
    network.wait_settled(crate::SETTLE_LIMIT).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_dies_with_half_a_set_held_takes_the_other_half() -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
    let mut network = row(&[("alice", Ampd), ("lena", Lnd)]).await?;
    for (payer, payee) in [("lena", "alice"), ("alice", "lena")] {
        restart::between_halves(&mut network, payer, payee)
            .await
            .context(payee)?;
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}
