//! lnd's channel types: those that both programs support, and those that ampd refuses.

mod alias;
mod refused;

use anyhow::{Context, Result};
use lnd_api::proto::lnrpc::{Channel, CommitmentType};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::amp_to;
use regtest::network::{ChannelPlan, Network};
use regtest::trials;

use crate::binaries;
use crate::scene::{CAPACITY_SAT, Scene};

const AMPD: &str = "alice";
const LND: &str = "lena";
const PUSH_SAT: u64 = CAPACITY_SAT / 4;
const MSAT: u64 = 12_345_678;
/// Above 0.16 BTC, the maximum without option_support_large_channel (BOLT 2).
const LARGE_SAT: u64 = 50_000_000;

pub(crate) fn trials() -> trials::Trials {
    trials![
        channels_use_anchors_by_default,
        channels_use_static_remote_key_if_lnd_has_no_anchors,
        wumbo_channels_open_if_lnd_allows_them,
    ]
    .and(alias::trials())
    .and(refused::trials())
}

async fn channels_use_anchors_by_default() -> Result<()> {
    open_and_pay(&[], CommitmentType::Anchors, CAPACITY_SAT).await
}

/// With this option lnd does not announce anchors, and LDK proposes the best type that both announce.
async fn channels_use_static_remote_key_if_lnd_has_no_anchors() -> Result<()> {
    let options = ["protocol.no-anchors"];
    open_and_pay(&options, CommitmentType::StaticRemoteKey, CAPACITY_SAT).await
}

async fn wumbo_channels_open_if_lnd_allows_them() -> Result<()> {
    let options = ["protocol.wumbo-channels"];
    open_and_pay(&options, CommitmentType::Anchors, LARGE_SAT).await
}

/// Public and private channels of this capacity, opened by each side, have this type, and carry AMP
/// payments in both directions.
async fn open_and_pay(options: &[&str], kind: CommitmentType, capacity_sat: u64) -> Result<()> {
    let network = with_lnd(options).await?;
    let plans = [(AMPD, LND), (LND, AMPD)].map(|(from, to)| {
        let public = ChannelPlan::new(from, to, capacity_sat).push(PUSH_SAT);
        [public, public.private()]
    });
    let plans = plans.as_flattened();
    let points = network.open(plans).await?;
    for (plan, point) in plans.iter().zip(&points) {
        for name in [AMPD, LND] {
            let channel = channel(&network, name, point).await?;
            assert_eq!(channel.commitment_type(), kind, "{plan:?}");
            assert_eq!(channel.private, plan.private);
            assert_eq!(channel.initiator, plan.from == name);
            assert_eq!(u64::try_from(channel.capacity)?, capacity_sat);
            if plan.to == name {
                assert_eq!(u64::try_from(channel.local_balance)?, PUSH_SAT);
            }
        }
        pay_in_each_direction(&network, point).await?;
    }
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// An ampd and an lnd with these options.
async fn with_lnd(options: &[&str]) -> Result<Network> {
    let mut network = Network::start(binaries()).await?;
    let mut ampd = network.prepare(AMPD)?;
    ampd.set_raw("accept-amp", "true");
    let mut lnd = network.prepare_lnd(LND)?;
    for option in options {
        lnd.set_raw(option, "true");
    }
    network.add(vec![ampd, lnd]).await?;
    Ok(network)
}

async fn pay_in_each_direction(network: &Network, point: &str) -> Result<()> {
    for (payer, payee) in [(AMPD, LND), (LND, AMPD)] {
        let id = channel(network, payer, point).await?.chan_id;
        let request = SendPaymentRequest {
            outgoing_chan_ids: vec![id],
            ..amp_to(network[payee].key(), MSAT)?
        };
        let payment = Scene::new(network, payer, &[payee]).pays(&request).await?;
        let routes = payment.htlcs.iter().filter_map(|htlc| htlc.route.as_ref());
        let ids: Vec<_> = routes.map(|route| route.hops[0].chan_id).collect();
        assert_eq!(ids, [id], "{payer} paid over a different channel");
    }
    Ok(())
}

async fn channel(network: &Network, name: &str, point: &str) -> Result<Channel> {
    let channels = network[name].api()?.channels().await?;
    let found = channels.into_iter().find(|one| one.channel_point == point);
    found.with_context(|| format!("{name} does not list {point}"))
}
