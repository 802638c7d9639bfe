//! The scenarios of lnd's own integration tests that are about AMP, between ampd and lnd.

mod amp;
mod backlog;
mod events;
mod max_htlcs;
mod mpp;
mod repeat;
mod restarts;
mod single_hop;
mod ways;

use anyhow::{Context, Result};
use regtest::node::Software::{self, Ampd, Lnd};

use crate::lnd_is_here;
use crate::scene::{Scene, row};

#[tokio::test]
async fn over_three_ways_from_ampd_to_lnd() -> Result<()> {
    over_three_ways(Ampd).await
}

#[tokio::test]
async fn over_three_ways_from_lnd_to_ampd() -> Result<()> {
    over_three_ways(Lnd).await
}

async fn over_three_ways(payer: Software) -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
    let network = ways::open(payer).await?;
    macro_rules! run {
        ($($module:ident :: $scenario:ident),* $(,)?) => {$(
            $module::$scenario(&network).await.context(stringify!($scenario))?;
            ways::give_back(&network).await.context(stringify!(after $scenario))?;
        )*};
    }
    run![
        amp::an_invoice,
        amp::an_invoice_with_another_payment_address,
        amp::to_a_key,
        amp::shards_over_routes_of_the_caller,
        mpp::an_invoice,
        mpp::parts_over_routes_of_the_caller,
    ];
    network.check_balances().await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn over_one_channel() -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
    let mut network = row(&[("alice", Ampd), ("lena", Lnd)]).await?;
    for (payer, payee) in [("alice", "lena"), ("lena", "alice")] {
        let way = [payee];
        let scene = Scene::new(&network, payer, &way);
        repeat::an_invoice_twice(scene).await.context(payee)?;
        single_hop::ordinary_payments(scene).await.context(payee)?;
        single_hop::keysend_is_not_amp(scene).await.context(payee)?;
        restarts::invoices_survive(&mut network, payer, payee)
            .await
            .context(payee)?;
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn a_client_that_resumes_hears_the_same_from_both() -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
    let network = row(&[("alice", Ampd), ("lena", Lnd)]).await?;
    let mut told = Vec::new();
    for (payer, payee) in [("alice", "lena"), ("lena", "alice")] {
        let way = [payee];
        let scene = Scene::new(&network, payer, &way);
        told.push(
            backlog::of_invoices_that_ended_in_all_ways(scene)
                .await
                .context(payee)?,
        );
    }
    assert_eq!(told[1], told[0], "ampd, lnd");
    network.finish();
    Ok(())
}

#[tokio::test]
async fn a_channel_full_of_htlcs_takes_no_more_and_nobody_tries_for_long() -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
    let network = max_htlcs::open().await?;
    for (payer, way) in max_htlcs::WAYS {
        let scene = Scene::new(&network, payer, way);
        max_htlcs::a_full_channel(scene).await.context(payer)?;
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}
