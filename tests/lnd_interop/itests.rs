//! The AMP scenarios of lnd's integration tests, between ampd and lnd.

mod amp;
mod backlog;
mod events;
mod max_htlcs;
mod mpp;
mod repeat;
mod restarts;
mod single_hop;
mod topology;

use anyhow::{Context, Result};
use regtest::node::Software::{self, Ampd, Lnd};
use regtest::trials;

use crate::scene::{Scene, row};

pub(crate) fn trials() -> trials::Trials {
    trials![
        three_route_scenarios_pass_from_ampd_to_lnd,
        three_route_scenarios_pass_from_lnd_to_ampd,
        single_channel_scenarios_pass,
        resumed_subscriptions_get_the_same_events_from_both,
        payments_over_a_full_channel_fail_quickly,
    ]
}

async fn three_route_scenarios_pass_from_ampd_to_lnd() -> Result<()> {
    three_route_scenarios(Ampd).await
}

async fn three_route_scenarios_pass_from_lnd_to_ampd() -> Result<()> {
    three_route_scenarios(Lnd).await
}

async fn three_route_scenarios(payer: Software) -> Result<()> {
    let network = topology::open(payer).await?;
    macro_rules! run {
        ($($module:ident :: $scenario:ident),* $(,)?) => {$(
            $module::$scenario(&network).await.context(stringify!($scenario))?;
            topology::pay_back(&network).await.context(stringify!(after $scenario))?;
        )*};
    }
    run![
        amp::an_invoice,
        amp::an_invoice_with_another_payment_address,
        amp::to_a_key,
        amp::shards_over_given_routes,
        mpp::an_invoice,
        mpp::parts_over_given_routes,
    ];
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn single_channel_scenarios_pass() -> Result<()> {
    let mut network = row(&[("alice", Ampd), ("lena", Lnd)]).await?;
    for (payer, payee) in [("alice", "lena"), ("lena", "alice")] {
        let hops = [payee];
        let scene = Scene::new(&network, payer, &hops);
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

async fn resumed_subscriptions_get_the_same_events_from_both() -> Result<()> {
    let network = row(&[("alice", Ampd), ("lena", Lnd)]).await?;
    let mut received = Vec::new();
    for (payer, payee) in [("alice", "lena"), ("lena", "alice")] {
        let hops = [payee];
        let scene = Scene::new(&network, payer, &hops);
        received.push(
            backlog::of_invoices_with_every_final_state(scene)
                .await
                .context(payee)?,
        );
    }
    assert_eq!(received[1], received[0], "ampd, lnd");
    network.finish();
    Ok(())
}

async fn payments_over_a_full_channel_fail_quickly() -> Result<()> {
    let network = max_htlcs::open().await?;
    for (payer, hops) in max_htlcs::ROUTES {
        let scene = Scene::new(&network, payer, hops);
        max_htlcs::a_full_channel(scene).await.context(payer)?;
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}
