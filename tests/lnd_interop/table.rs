//! How a payee treats manual shards, with one function for each row of the table in
//! docs/lnd-compatibility.md. lnd sends them to ampd, and ampd to lnd.

mod own_checks;
mod payers;
mod refused;
mod restart;
mod settled;
mod timeouts;
mod unlike;

use anyhow::{Context, Result};
use regtest::node::Software::{Ampd, Lnd};

use crate::scene::row;
use payers::TwoPayers;
use regtest::trials;

pub(crate) fn trials() -> trials::Trials {
    trials![
        manual_shards_are_settled_or_rejected_as_documented,
        incomplete_manual_sets_time_out_as_documented,
        receiver_accepts_the_other_half_of_a_set_after_a_crash,
    ]
}

async fn manual_shards_are_settled_or_rejected_as_documented() -> Result<()> {
    let network = payers::open().await?;
    for payers in payers::all(&network) {
        answers(payers)
            .await
            .with_context(|| payers.one.payee_name().to_owned())?;
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn answers(payers: TwoPayers<'_>) -> Result<()> {
    macro_rules! run {
        ($($module:ident :: $row:ident),* $(,)?) => {$(
            $module::$row(payers).await.context(stringify!($row))?;
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
        unlike::invalid_share,
        unlike::invalid_share_next_to_a_held_set,
    ];
    Ok(())
}

/// Runs all rows concurrently, since each waits for two minutes.
async fn incomplete_manual_sets_time_out_as_documented() -> Result<()> {
    let network = payers::open().await?;
    let [ampd, lnd] = payers::all(&network);
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

async fn receiver_accepts_the_other_half_of_a_set_after_a_crash() -> Result<()> {
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
