//! AMP by hand: the caller splits the root and sends each shard itself.

use ampd::amp::{Child, Share, Splitter};
use ampd::rpc::proto::lnrpc::failure::FailureCode;
use ampd::rpc::proto::lnrpc::htlc_attempt::HtlcStatus;
use ampd::rpc::proto::lnrpc::invoice::InvoiceState;
use ampd::rpc::proto::lnrpc::payment::PaymentStatus;
use ampd::rpc::proto::lnrpc::{AmpRecord, HtlcAttempt, Invoice, InvoiceSubscription};
use ampd::rpc::proto::routerrpc::SendToRouteRequest;
use anyhow::{Context, Result};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;
use regtest::network::Network;
use tokio::time::timeout;
use tonic::{Code, Streaming};

use super::{WAYS, build, mpp, send};
use crate::SETTLE_LIMIT;

const SHARD_MSAT: i64 = 100_000_000;
const TOTAL_MSAT: i64 = 3 * SHARD_MSAT;

/// A set of three shards, each with its way.
struct Set {
    set_id: [u8; 32],
    address: [u8; 32],
    shares: Vec<Share>,
    children: Vec<Child>,
}

impl Set {
    fn new(number: u8) -> Result<Self> {
        let bytes = |what: &[u8]| sha256::Hash::hash(&[what, &[number]].concat()).to_byte_array();
        let root = Share::from_bytes(bytes(b"root"));
        let mut splitter = Splitter::new(root.clone());
        let (mut shares, mut children) = (Vec::new(), Vec::new());
        for index in 0..3u32 {
            let random = bytes(&index.to_be_bytes());
            let shard = splitter.next_shard(random, index, index == 2)?;
            children.push(Child::derive(&root, &shard.share, index));
            shares.push(shard.share);
        }
        Ok(Self {
            set_id: bytes(b"set"),
            address: bytes(b"address"),
            shares,
            children,
        })
    }

    async fn request(&self, network: &Network, index: usize) -> Result<SendToRouteRequest> {
        let mut route = build(network, WAYS[index], SHARD_MSAT, &self.address).await?;
        mpp(&mut route)?.total_amt_msat = TOTAL_MSAT;
        let last = route.hops.last_mut().context("no hops")?;
        last.amp_record = Some(AmpRecord {
            root_share: self.shares[index].to_bytes().to_vec(),
            set_id: self.set_id.to_vec(),
            child_index: u32::try_from(index)?,
        });
        Ok(SendToRouteRequest {
            payment_hash: self.children[index].hash.0.to_vec(),
            route: Some(route),
            ..Default::default()
        })
    }
}

/// As lnd's own test of it: the invoice appears with the first shard and is settled with the last.
pub async fn three_shards_settle_together(network: &Network) -> Result<()> {
    let (alice, bob) = (network["alice"].api()?, network["bob"].api()?);
    let all = InvoiceSubscription::default();
    let mut heard = bob.lightning.clone().subscribe_invoices(all).await?;
    let heard = heard.get_mut();
    let set = Set::new(1)?;
    let requests = [
        set.request(network, 0).await?,
        set.request(network, 1).await?,
        set.request(network, 2).await?,
    ];
    let (payer, request) = (alice.clone(), requests[0].clone());
    let first = tokio::spawn(async move { send(&payer, request).await });
    let added = next(heard).await?;
    assert_eq!(added.state(), InvoiceState::Open);
    assert_eq!(added.payment_addr, set.address);
    assert_eq!((added.amt_paid_msat, added.htlcs.len()), (0, 0));

    let mut other_total = requests[1].clone();
    mpp(other_total.route.as_mut().context("no route")?)?.total_amt_msat += 1;
    let refused = send(&alice, other_total).await.expect_err("another total");
    assert_eq!(refused.message(), "mp payment total amount mismatch");

    let (second, third) = tokio::try_join!(
        send(&alice, requests[1].clone()),
        send(&alice, requests[2].clone())
    )?;
    let first = first.await??;
    for (index, attempt) in [first, second, third].iter().enumerate() {
        settled_as(attempt, &set, index)?;
    }
    let settled = next(heard).await?;
    assert_eq!(settled.state(), InvoiceState::Settled);
    assert_eq!(
        (settled.amt_paid_msat, settled.htlcs.len()),
        (TOTAL_MSAT, 3)
    );

    let payment = alice.payments(0).await?.payments.pop();
    let payment = payment.context("no payment")?;
    assert_eq!(payment.payment_hash, set.set_id.to_lower_hex_string());
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
    assert_eq!((payment.value_msat, payment.htlcs.len()), (TOTAL_MSAT, 3));

    let again = send(&alice, requests[0].clone()).await;
    let again = again.expect_err("the set is paid");
    let paid = (Code::AlreadyExists, "invoice is already paid");
    assert_eq!((again.code(), again.message()), paid);
    Ok(())
}

fn settled_as(attempt: &HtlcAttempt, set: &Set, index: usize) -> Result<()> {
    assert_eq!(attempt.status(), HtlcStatus::Succeeded, "{attempt:?}");
    let hash = sha256::Hash::hash(&attempt.preimage).to_byte_array();
    assert_eq!(hash, set.children[index].hash.0);
    let route = attempt.route.as_ref().context("no route")?;
    assert_eq!(route.hops.len(), WAYS[index].len());
    let last = route.hops.last().context("no hops")?;
    let record = last.amp_record.as_ref().context("not AMP")?;
    assert_eq!(usize::try_from(record.child_index)?, index);
    assert_eq!(record.root_share, set.shares[index].to_bytes());
    Ok(())
}

pub async fn a_wrong_share_fails_its_set(network: &Network) -> Result<()> {
    let alice = network["alice"].api()?;
    let set = Set::new(2)?;
    let mut requests = Vec::new();
    for index in 0..3 {
        requests.push(set.request(network, index).await?);
    }
    let route = requests[2].route.as_mut().context("no route")?;
    let last = route.hops.last_mut().context("no hops")?;
    let record = last.amp_record.as_mut().context("not AMP")?;
    record.root_share[0] ^= 1;
    let sent = requests.into_iter().map(|request| send(&alice, request));
    for (index, attempt) in futures_util::future::try_join_all(sent)
        .await?
        .iter()
        .enumerate()
    {
        assert_eq!(attempt.status(), HtlcStatus::Failed);
        let failure = attempt.failure.as_ref().context("no failure")?;
        let code = FailureCode::IncorrectOrUnknownPaymentDetails;
        assert_eq!(failure.code(), code);
        let source = usize::try_from(failure.failure_source_index)?;
        assert_eq!(source, WAYS[index].len());
    }
    let payment = alice.payments(0).await?.payments.pop();
    let payment = payment.context("no payment")?;
    assert_eq!(payment.payment_hash, set.set_id.to_lower_hex_string());
    assert_eq!(payment.status(), PaymentStatus::Failed);
    Ok(())
}

async fn next(heard: &mut Streaming<Invoice>) -> Result<Invoice> {
    let message = timeout(SETTLE_LIMIT, heard.message()).await;
    message
        .context("no event")??
        .context("the stream has ended")
}
