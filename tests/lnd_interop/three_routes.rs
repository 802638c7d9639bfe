//! Three disjoint routes: through an ampd, through an lnd, and through one of each.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::{HtlcAttempt, Payment};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{amp_to, bolt11, bytes};
use regtest::demo;
use regtest::manual_amp::{self, Set};
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::{Ampd, Lnd};
use regtest::trials;

use crate::scenarios;
use crate::scene::{CAPACITY_SAT, Scene, amp};
use crate::{SETTLE_LIMIT, binaries};

const FORWARDERS: [&[&str]; 3] = [&["bob"], &["lisa"], &["carol", "lara"]];
/// Each end of a channel owns half of it, so two routes together can carry less than this.
const MSAT: i64 = CAPACITY_SAT as i64 * 1_100;
const SHARD_MSAT: i64 = 100_000_000;

pub(crate) fn trials() -> trials::Trials {
    trials![
        payments_split_across_three_routes_from_ampd_to_lnd,
        payments_split_across_three_routes_from_lnd_to_ampd,
    ]
}

async fn payments_split_across_three_routes_from_ampd_to_lnd() -> Result<()> {
    three_routes("alice", "lena").await
}

async fn payments_split_across_three_routes_from_lnd_to_ampd() -> Result<()> {
    three_routes("lena", "alice").await
}

async fn three_routes(payer: &str, payee: &str) -> Result<()> {
    let network = disjoint().await?;
    let routes = FORWARDERS.map(|hops| ordered(hops, payer, payee));
    let scenes = routes
        .each_ref()
        .map(|hops| Scene::new(&network, payer, hops));
    all_routes_are_known(&scenes).await?;
    a_payment_needs_them_all(scenes[0]).await?;
    manual_shards_use_one_route_each(&scenes).await?;
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
    for hops in FORWARDERS {
        let hops = [&["alice"][..], hops, &["lena"]].concat();
        let channels = hops
            .windows(2)
            .map(|pair| ChannelPlan::new(pair[0], pair[1], CAPACITY_SAT).push(CAPACITY_SAT / 2));
        plans.extend(channels);
    }
    network.open(&plans).await?;
    Ok(network)
}

/// The nodes after the payer, in order from the payer.
fn ordered<'a>(hops: &[&'a str], payer: &str, payee: &'a str) -> Vec<&'a str> {
    let mut names = hops.to_vec();
    if payer != "alice" {
        names.reverse();
    }
    names.push(payee);
    names
}

async fn all_routes_are_known(scenes: &[Scene<'_>]) -> Result<()> {
    for scene in scenes {
        scene.known_route(SHARD_MSAT).await?;
    }
    Ok(())
}

/// Pays a key, a static invoice, and a BOLT 11 invoice.
async fn a_payment_needs_them_all(scene: Scene<'_>) -> Result<()> {
    let spontaneous = amp_to(scene.payee_key(), u64::try_from(MSAT)?)?;
    let payment = uses_all_routes(scene, &spontaneous).await?;
    assert!(demo::prove(&payment, &scene.payee()?).await?.len() >= FORWARDERS.len());
    pays_back(scene, &payment).await?;

    let invoice = scene.amp_invoice(MSAT).await?;
    let payment = uses_all_routes(scene, &amp(&invoice, 0)).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    assert_eq!(scene.lookup(&invoice).await?.amt_paid_msat, MSAT);
    pays_back(scene, &payment).await?;

    let invoice = scene.payee()?.invoice(u64::try_from(MSAT)?).await?;
    let payment = uses_all_routes(scene, &bolt11(&invoice.payment_request)).await?;
    let settled = scene.lookup(&invoice).await?;
    assert_eq!(settled.state(), InvoiceState::Settled);
    pays_back(scene, &payment).await
}

/// Pays over all routes; the forwarding nodes must earn exactly the fees reported by the payer.
async fn uses_all_routes(scene: Scene<'_>, request: &SendPaymentRequest) -> Result<Payment> {
    let before = balances(scene).await?;
    let payment = scene.pays(request).await?;
    let after = balances(scene).await?;
    let fees = fees(&payment)?;
    for (name, msat) in before {
        let earned = after[name] - msat;
        let fee = fees.get(scene.network[name].key()).copied();
        let fee = fee.with_context(|| format!("no HTLC was forwarded by {name}"))?;
        ensure!(
            fee > 0 && earned == fee,
            "{name} earned {earned} msat instead of {fee}"
        );
    }
    assert_eq!(fees.values().sum::<u64>(), u64::try_from(payment.fee_msat)?);
    Ok(payment)
}

/// Local balances of the forwarding nodes in msat.
async fn balances(scene: Scene<'_>) -> Result<BTreeMap<&'static str, u64>> {
    let mut balances = BTreeMap::new();
    for name in FORWARDERS.concat() {
        let msat = scene.network[name].api()?.local_msat().await?;
        balances.insert(name, msat);
    }
    Ok(balances)
}

/// Forwarding fees in msat by public key.
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

/// Pays everything back over the same routes, so that they can carry the next payment.
async fn pays_back(scene: Scene<'_>, payment: &Payment) -> Result<()> {
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

/// Follows lnd's own test of SendToRouteV2 with AMP.
async fn manual_shards_use_one_route_each(scenes: &[Scene<'_>]) -> Result<()> {
    let total_msat = SHARD_MSAT * i64::try_from(scenes.len())?;
    let set = Set::new(manual_amp::random(), total_msat, &[0, 1, 2])?;
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
