//! One channel between ampd and lnd under load in both directions, through everything that happens in
//! the long life of a channel.

mod books;
mod load;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{DisconnectPeerRequest, Payment};
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{Ampd, Lnd};
use regtest::trials;
use regtest::wait::wait_for;

use crate::{SETTLE_LIMIT, binaries};
use load::Load;

const AMPD: &str = "alice";
const LND: &str = "lena";
const CAPACITY_SAT: u64 = 16_000_000;
const EACH_WAY: u64 = 500;
/// Payments in each direction between two events.
const BETWEEN: u64 = 40;
/// ampd queries fee rates at startup; LDK updates its channels within a minute.
const FEE_LIMIT: Duration = Duration::from_secs(90);
const LOAD_LIMIT: Duration = Duration::from_secs(120);
/// bitcoind's minimum relay fee on a busy day, and the resulting feerate of ampd's channel: 8 sat/vB.
const BUSY: &str = "-minrelaytxfee=0.00008";
const BUSY_SAT_PER_KW: i64 = 2_000;

pub(crate) fn trials() -> trials::Trials {
    trials![channel_survives_a_thousand_payments_reconnects_and_fee_updates].on_threads(2)
}

/// The opener sends fee updates. lnd sends its first one 10 to 60 minutes after connecting (a random
/// delay that cannot be configured), so ampd opens the channel here.
async fn channel_survives_a_thousand_payments_reconnects_and_fee_updates() -> Result<()> {
    let mut network = Network::mixed(binaries(), &[(AMPD, Ampd), (LND, Lnd)]).await?;
    let plan = ChannelPlan::new(AMPD, LND, CAPACITY_SAT).push(CAPACITY_SAT / 2);
    let points = network.open(&[plan]).await?;
    let first_sat_per_kw = sat_per_kw(&network).await?;
    // The side that does not pay the commitment fee.
    let before_msat = network[LND].api()?.local_msat().await?;
    let load = Load::start(&network).await?;

    let killed_index = live(&mut network, &load).await?;
    load.wait_until(EACH_WAY, LOAD_LIMIT).await?;
    load.stop().await?;

    wait_ended(&network, AMPD, 0).await?;
    wait_ended(&network, LND, killed_index).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    ensure!(sat_per_kw(&network).await? == first_sat_per_kw);
    let gained_msat = books::compare(&network, AMPD, LND).await?;
    let lost_msat = books::compare(&network, LND, AMPD).await?;
    let after_msat = network[LND].api()?.local_msat().await?;
    assert_eq!(after_msat, before_msat + gained_msat - lost_msat);
    is_the_only_channel_ever(&network, &points[0]).await?;
    network.finish();
    Ok(())
}

/// Payments continue throughout. Returns the index of lnd's last payment before it was killed.
async fn live(network: &mut Network, load: &Load) -> Result<u64> {
    let first_sat_per_kw = sat_per_kw(network).await?;
    load.go_on().await?;
    network.kill(&[AMPD])?;
    start_with_fees(network, load, &[BUSY]).await?;

    for (from, to) in [(AMPD, LND), (LND, AMPD)] {
        load.go_on().await?;
        hang_up(network).await?;
        network.connect(from, to).await?;
    }
    load.go_on().await?;
    network.kill(&[LND])?;
    network.restart(&[LND]).await?;
    let killed_index = last_index(network, LND).await?;
    load.meet(network)?;
    network.connect(AMPD, LND).await?;
    load.go_on().await?;
    wait_for_fee(network, BUSY_SAT_PER_KW).await?;

    load.go_on().await?;
    let status = network[AMPD].stop().await?;
    ensure!(status.success(), "{AMPD} exited with {status}");
    start_with_fees(network, load, &[]).await?;
    load.go_on().await?;
    wait_for_fee(network, first_sat_per_kw).await?;
    load.go_on().await?;
    Ok(killed_index)
}

/// Waits until no payment after this index is in flight. Earlier ones of lnd may stay in flight forever: if
/// lnd is killed before an HTLC is in a commitment, the HTLC is gone from the channel, but lnd waits for
/// its result. [`books::compare`] shows that nothing of it arrived. The same applies to payments for
/// which lnd never sent an HTLC ([`Load::stop`]).
async fn wait_ended(network: &Network, name: &str, index: u64) -> Result<()> {
    let what = format!("{name}'s payments to complete");
    wait_for(&what, SETTLE_LIMIT, async || {
        let payments = network[name].api()?.payments(index).await?.payments;
        let ended = [PaymentStatus::Succeeded, PaymentStatus::Failed];
        let is_sent = |one: &&Payment| name == AMPD || !one.htlcs.is_empty();
        let mut under_way = payments
            .iter()
            .filter(is_sent)
            .filter(|one| !ended.contains(&one.status()));
        ensure!(under_way.next().is_none(), "some payments are in flight");
        Ok(())
    })
    .await
}

async fn last_index(network: &Network, name: &str) -> Result<u64> {
    let payments = network[name].api()?.payments(0).await?.payments;
    let last = payments.iter().map(|payment| payment.payment_index).max();
    last.context("it has no payments")
}

/// Restarts ampd with a different minimum fee rate at bitcoind, the only thing that changes ampd's
/// estimates on regtest.
async fn start_with_fees(network: &mut Network, load: &Load, arguments: &[&str]) -> Result<()> {
    network.bitcoind.stop().await?;
    network.bitcoind.set_arguments(arguments);
    network.bitcoind.restart().await?;
    network.restart(&[AMPD]).await?;
    load.meet(network)?;
    network.connect(AMPD, LND).await
}

/// Disconnects from lnd's side, because ampd would reconnect on its own.
async fn hang_up(network: &Network) -> Result<()> {
    let request = DisconnectPeerRequest {
        pub_key: network[AMPD].key().to_owned(),
    };
    let mut lnd = network[LND].api()?.lightning;
    lnd.disconnect_peer(request).await?;
    Ok(())
}

/// The feerate of lnd's commitment transaction.
async fn sat_per_kw(network: &Network) -> Result<i64> {
    let channels = network[LND].api()?.channels().await?;
    ensure!(channels.len() == 1, "{} channels are open", channels.len());
    Ok(channels[0].fee_per_kw)
}

async fn wait_for_fee(network: &Network, wanted: i64) -> Result<()> {
    wait_for("a fee update", FEE_LIMIT, async || {
        let now = sat_per_kw(network).await?;
        ensure!(now == wanted, "it is {now} sat/kw instead of {wanted}");
        Ok(())
    })
    .await
}

async fn is_the_only_channel_ever(network: &Network, point: &str) -> Result<()> {
    for node in network.nodes() {
        let api = node.api()?;
        let open = api.channels().await?;
        let points: Vec<_> = open.iter().map(|one| one.channel_point.as_str()).collect();
        assert_eq!(points, [point]);
        assert_eq!(api.closed().await?.channels, []);
    }
    Ok(())
}
