//! Three disjoint ways: over an ampd, over an lnd, over one of each.

use std::collections::BTreeMap;

use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::{HtlcAttempt, Payment};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use regtest::api::{amp_to, bolt11, bytes};
use regtest::by_hand::{self, Set};
use regtest::demo;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{Ampd, Lnd};

use crate::scenarios;
use crate::scene::{CAPACITY_SAT, Scene, amp};
use crate::{SETTLE_LIMIT, binaries, lnd_is_here};

const FORWARDERS: [&[&str]; 3] = [&["bob"], &["lisa"], &["carol", "lara"]];
/// Either end of a channel owns half of it: two ways together carry less than this.
const MSAT: i64 = CAPACITY_SAT as i64 * 1_100;
const SHARD_MSAT: i64 = 100_000_000;

#[tokio::test]
async fn payments_take_three_ways_from_ampd_to_lnd() -> Result<()> {
    three_ways("alice", "lena").await
}

#[tokio::test]
async fn payments_take_three_ways_from_lnd_to_ampd() -> Result<()> {
    three_ways("lena", "alice").await
}

async fn three_ways(payer: &str, payee: &str) -> Result<()> {
    if !lnd_is_here()? {
        return Ok(());
    }
    let network = disjoint().await?;
    let ways = FORWARDERS.map(|way| ordered(way, payer, payee));
    let scenes = ways.each_ref().map(|way| Scene::new(&network, payer, way));
    all_ways_are_known(&scenes).await?;
    a_payment_needs_them_all(scenes[0]).await?;
    shards_by_hand_take_one_each(&scenes).await?;
    scenarios::all(scenes[2]).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn disjoint() -> Result<Network> {
    let nodes = [
        ("alice", Ampd),
        ("bob", Ampd),
        ("carol", Ampd),
        ("lara", Lnd),
        ("lena", Lnd),
        ("lisa", Lnd),
    ];
    let network = Network::mixed(binaries(), &nodes).await?;
    let mut plans = Vec::new();
    for way in FORWARDERS {
        let way = [&["alice"][..], way, &["lena"]].concat();
        let channels = way
            .windows(2)
            .map(|pair| ChannelPlan::new(pair[0], pair[1], CAPACITY_SAT).push(CAPACITY_SAT / 2));
        plans.extend(channels);
    }
    network.open(&plans).await?;
    Ok(network)
}

/// The nodes after the payer, seen from it.
fn ordered<'a>(way: &[&'a str], payer: &str, payee: &'a str) -> Vec<&'a str> {
    let mut names = way.to_vec();
    if payer != "alice" {
        names.reverse();
    }
    names.push(payee);
    names
}

async fn all_ways_are_known(scenes: &[Scene<'_>]) -> Result<()> {
    for scene in scenes {
        scene.known_route(SHARD_MSAT).await?;
    }
    Ok(())
}

/// To a key, to a static invoice, and to an ordinary one.
async fn a_payment_needs_them_all(scene: Scene<'_>) -> Result<()> {
    let spontaneous = amp_to(scene.payee_key(), u64::try_from(MSAT)?)?;
    let payment = takes_all_ways(scene, &spontaneous).await?;
    assert!(demo::prove(&payment, &scene.payee()?).await?.len() >= FORWARDERS.len());
    gives_back(scene, &payment).await?;

    let invoice = scene.amp_invoice(MSAT).await?;
    let payment = takes_all_ways(scene, &amp(&invoice, 0)).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    assert_eq!(scene.lookup(&invoice).await?.amt_paid_msat, MSAT);
    gives_back(scene, &payment).await?;

    let invoice = scene.payee()?.invoice(u64::try_from(MSAT)?).await?;
    let payment = takes_all_ways(scene, &bolt11(&invoice.payment_request)).await?;
    let settled = scene.lookup(&invoice).await?;
    assert_eq!(settled.state(), InvoiceState::Settled);
    gives_back(scene, &payment).await
}

/// Pays, over all ways, and the forwarders earn what the payer says that it paid them.
async fn takes_all_ways(scene: Scene<'_>, request: &SendPaymentRequest) -> Result<Payment> {
    let before = balances(scene).await?;
    let payment = scene.pays(request).await?;
    let after = balances(scene).await?;
    let fees = fees(&payment)?;
    for (name, msat) in before {
        let earned = after[name] - msat;
        let fee = fees.get(scene.network[name].key()).copied();
        let fee = fee.with_context(|| format!("nothing went over {name}"))?;
        ensure!(
            fee > 0 && earned == fee,
            "{name} earned {earned} msat instead of {fee}"
        );
    }
    assert_eq!(fees.values().sum::<u64>(), u64::try_from(payment.fee_msat)?);
    Ok(payment)
}

/// The forwarders' own balances, msat.
async fn balances(scene: Scene<'_>) -> Result<BTreeMap<&'static str, u64>> {
    let mut balances = BTreeMap::new();
    for name in FORWARDERS.concat() {
        let msat = scene.network[name].api()?.local_msat().await?;
        balances.insert(name, msat);
    }
    Ok(balances)
}

/// By public key: what a node got for forwarding, msat.
fn fees(payment: &Payment) -> Result<BTreeMap<&str, u64>> {
    let mut fees = BTreeMap::new();
    for attempt in arrived(payment) {
        let route = attempt.route.as_ref().context("no route")?;
        let (_, forwarders) = route.hops.split_last().context("no hops")?;
        for hop in forwarders {
            let sum: &mut u64 = fees.entry(hop.pub_key.as_str()).or_default();
            *sum += u64::try_from(hop.fee_msat)?;
        }
    }
    Ok(fees)
}

fn arrived(payment: &Payment) -> impl Iterator<Item = &HtlcAttempt> {
    let attempts = payment.htlcs.iter();
    attempts.filter(|attempt| attempt.status() == HtlcStatus::Succeeded)
}

/// So that the ways carry as much again: over each comes back what it brought.
async fn gives_back(scene: Scene<'_>, payment: &Payment) -> Result<()> {
    let mut brought = BTreeMap::new();
    for attempt in arrived(payment) {
        let route = attempt.route.as_ref().context("no route")?;
        let (first, last) = route
            .hops
            .first()
            .zip(route.hops.last())
            .context("no hops")?;
        let sum: &mut u64 = brought.entry(first.pub_key.as_str()).or_default();
        *sum += u64::try_from(last.amt_to_forward_msat)?;
    }
    for (forwarder, msat) in brought {
        let back = SendPaymentRequest {
            last_hop_pubkey: bytes(forwarder)?,
            ..amp_to(scene.network[scene.payer].key(), msat)?
        };
        scene.network.pay(scene.payee_name(), &back).await?;
    }
    scene.network.wait_settled(SETTLE_LIMIT).await
}

/// As lnd's own test of SendToRouteV2 with AMP.
async fn shards_by_hand_take_one_each(scenes: &[Scene<'_>]) -> Result<()> {
    let total_msat = SHARD_MSAT * i64::try_from(scenes.len())?;
    let set = Set::new(by_hand::random(), total_msat, &[0, 1, 2])?;
    let payer = scenes[0].payer()?;
    let mut requests = Vec::new();
    for (number, scene) in scenes.iter().enumerate() {
        requests.push(set.request(number, scene.route(SHARD_MSAT).await?)?);
    }
    let sent = requests
        .into_iter()
        .map(|request| payer.send_to_route(request));
    for (attempt, shard) in try_join_all(sent).await?.iter().zip(&set.shards) {
        assert_eq!(attempt.status(), HtlcStatus::Succeeded, "{attempt:?}");
        assert_eq!(attempt.preimage, shard.preimage);
    }
    let payment = scenes[0].payer()?.payments(0).await?.payments.pop();
    let payment = payment.context("no payment")?;
    assert_eq!(bytes(&payment.payment_hash)?, set.set_id);
    assert_eq!(arrived(&payment).count(), scenes.len());
    scenes[0].network.wait_settled(SETTLE_LIMIT).await
}
