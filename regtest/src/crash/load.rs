//! Load of 64 concurrent payments of all kinds in both directions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use fastrand::Rng;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use super::plan::Plan;
use crate::api::{Api, amp_to, bolt11};
use crate::network::Network;

const IN_FLIGHT: u64 = 64;
/// Pause after an error, so that a dead node is not called in a tight loop.
const ERROR_DELAY: Duration = Duration::from_millis(50);

/// Payer and receiver: through the forwarding node in both directions, and over direct channels.
const DIRECTIONS: [(&str, &str); 4] = [
    ("alice", "bob"),
    ("bob", "alice"),
    ("alice", "carol"),
    ("bob", "carol"),
];

/// The directions whose receiver supports all kinds of payments.
fn directions(network: &Network) -> impl Iterator<Item = (&'static str, &'static str)> {
    let directions = DIRECTIONS.into_iter();
    directions.filter(|(_, receiver)| !network[*receiver].is_peer())
}

/// A running load.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    workers: JoinSet<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    AmpOneShard,
    AmpSeveralShards,
    /// To the receiver's static invoice of this round.
    StaticInvoice,
    Bolt11,
    Bolt11SeveralParts,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::AmpOneShard,
        Self::AmpSeveralShards,
        Self::StaticInvoice,
        Self::Bolt11,
        Self::Bolt11SeveralParts,
    ];
}

/// One payer and one receiver.
#[derive(Clone, Debug)]
struct Pair {
    payer: Api,
    receiver: Api,
    receiver_key: String,
    static_invoice: String,
}

impl Load {
    /// Starts one worker per payment in flight, each paying sequentially. All nodes must be running:
    /// each receiver first creates a static invoice, which is not paid after this load.
    pub(super) async fn start(network: &Network, plan: &Plan) -> Result<Self> {
        let mut pairs = Vec::new();
        for (payer, receiver) in directions(network) {
            let receiver_api = network[receiver].api()?;
            pairs.push(Pair {
                payer: network[payer].api()?,
                static_invoice: receiver_api.static_invoice().await?.payment_request,
                receiver: receiver_api,
                receiver_key: network[receiver].key().to_owned(),
            });
        }
        let pairs: Arc<[Pair]> = pairs.into();
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for number in 0..IN_FLIGHT {
            let rng = Rng::with_seed(plan.load_seed.wrapping_add(number));
            workers.spawn(work(pairs.clone(), rng, stop.clone()));
        }
        Ok(Self { stop, workers })
    }

    /// Starts no new payments and waits for those in flight. Returns how many calls were interrupted
    /// by a node's crash.
    pub(super) async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.workers.join_all().await.into_iter().sum())
    }
}

/// Pays once in each direction, so that all nodes know all channels.
pub(super) async fn warm_up(network: &Network) -> Result<()> {
    for (payer, receiver) in directions(network) {
        network
            .pay(payer, &amp_to(network[receiver].key(), 10_000)?)
            .await?;
    }
    network.wait_settled(super::END_LIMIT).await
}

async fn work(pairs: Arc<[Pair]>, mut rng: Rng, stop: Arc<AtomicBool>) -> u64 {
    let mut cut_off = 0;
    while !stop.load(Ordering::Relaxed) {
        let pair = &pairs[rng.usize(..pairs.len())];
        if pay_once(pair, &mut rng).await.is_err() {
            cut_off += 1;
            sleep(ERROR_DELAY).await;
        }
    }
    cut_off
}

/// Returns an error if the call was interrupted, not if the payment failed.
async fn pay_once(pair: &Pair, rng: &mut Rng) -> Result<()> {
    let msat = rng.u64(1_000..3_000_000);
    let kind = Kind::ALL[rng.usize(..Kind::ALL.len())];
    pair.payer.pay(request(kind, pair, msat).await?).await?;
    Ok(())
}

async fn request(kind: Kind, pair: &Pair, msat: u64) -> Result<SendPaymentRequest> {
    let invoice = async || pair.receiver.invoice(msat).await;
    let base = match kind {
        Kind::AmpOneShard | Kind::AmpSeveralShards => amp_to(&pair.receiver_key, msat)?,
        Kind::StaticInvoice => SendPaymentRequest {
            amt_msat: i64::try_from(msat)?,
            ..bolt11(&pair.static_invoice)
        },
        Kind::Bolt11 | Kind::Bolt11SeveralParts => bolt11(&invoice().await?.payment_request),
    };
    Ok(match kind {
        Kind::AmpOneShard | Kind::Bolt11 => SendPaymentRequest {
            max_parts: 1,
            ..base
        },
        Kind::AmpSeveralShards | Kind::StaticInvoice | Kind::Bolt11SeveralParts => {
            SendPaymentRequest {
                max_shard_size_msat: msat / 3 + 1,
                ..base
            }
        }
    })
}
