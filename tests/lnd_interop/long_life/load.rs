//! Payments of all kinds in both directions, sixteen under way at any time, whatever happens to the
//! nodes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use regtest::api::{Api, amp_to, bolt11};
use regtest::by_hand;
use regtest::network::Network;
use regtest::wait::wait_for;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{AMPD, BETWEEN, LND, LOAD_LIMIT};

const WORKERS_EACH_WAY: u64 = 8;
/// A pause after a refusal, so that a dead node is not asked in a tight loop.
const PAUSE: Duration = Duration::from_millis(50);
const KEYSEND: u64 = 5_482_373_484;

/// The running load.
pub struct Load {
    ways: [Arc<Way>; 2],
    shared: Arc<Shared>,
    /// By payer.
    workers: BTreeMap<&'static str, JoinSet<()>>,
}

struct Shared {
    stop: AtomicBool,
    /// The nodes' clients of their last start.
    apis: Mutex<BTreeMap<&'static str, Api>>,
}

/// One direction.
struct Way {
    payer: &'static str,
    payee: &'static str,
    payee_key: String,
    static_invoice: String,
    started: AtomicU64,
    succeeded: AtomicU64,
}

impl Load {
    pub async fn start(network: &Network) -> Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            apis: Mutex::default(),
        });
        let way = async |payer, payee| Way::new(network, payer, payee).await;
        let ways = [way(AMPD, LND).await?, way(LND, AMPD).await?].map(Arc::new);
        let mut load = Self {
            ways,
            shared,
            workers: BTreeMap::new(),
        };
        load.meet(network)?;
        for way in &load.ways {
            let workers = load.workers.entry(way.payer).or_default();
            for _ in 0..WORKERS_EACH_WAY {
                workers.spawn(work(way.clone(), load.shared.clone()));
            }
        }
        Ok(load)
    }

    /// Learns where the nodes are now; to be called after each start of one.
    pub fn meet(&self, network: &Network) -> Result<()> {
        for name in [AMPD, LND] {
            self.shared.meet(name, network[name].api()?);
        }
        Ok(())
    }

    /// Waits until payments in both directions have succeeded from now on.
    pub async fn go_on(&self) -> Result<()> {
        let counts = self.ways.iter().map(|way| way.succeeded());
        self.wait(counts.map(|count| count + BETWEEN).collect(), LOAD_LIMIT)
            .await
    }

    /// Waits until so many payments in each direction have succeeded.
    pub async fn wait_until(&self, each_way: u64, limit: Duration) -> Result<()> {
        self.wait(vec![each_way; self.ways.len()], limit).await
    }

    async fn wait(&self, wanted: Vec<u64>, limit: Duration) -> Result<()> {
        wait_for("payments both ways", limit, async || {
            for (way, wanted) in self.ways.iter().zip(&wanted) {
                let now = way.succeeded();
                ensure!(now >= *wanted, "{}: {now} of {wanted}", way.payer);
            }
            Ok(())
        })
        .await
    }

    /// Lets no new payment start and waits for those under way. lnd may never answer for one that it began
    /// while bitcoind was away: it then sends no HTLC, and the payment stays in flight for ever.
    pub async fn stop(self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for (payer, workers) in self.workers {
            let ended = timeout(LOAD_LIMIT, workers.join_all()).await;
            ensure!(ended.is_ok() || payer == LND, "{payer} does not answer");
        }
        Ok(())
    }
}

impl Shared {
    fn meet(&self, name: &'static str, api: Api) {
        let mut apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        apis.insert(name, api);
    }

    fn api(&self, name: &str) -> Result<Api> {
        let apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        apis.get(name).cloned().context("an unknown node")
    }
}

impl Way {
    async fn new(network: &Network, payer: &'static str, payee: &'static str) -> Result<Self> {
        let invoice = network[payee].api()?.static_invoice().await?;
        Ok(Self {
            payer,
            payee,
            payee_key: network[payee].key().to_owned(),
            static_invoice: invoice.payment_request,
            started: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
        })
    }

    fn succeeded(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed)
    }

    /// The kinds in turn.
    async fn request(&self, shared: &Shared) -> Result<SendPaymentRequest> {
        let msat = random_msat();
        let to_key = amp_to(&self.payee_key, msat)?;
        Ok(match self.started.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => to_key,
            1 => SendPaymentRequest {
                amp: true,
                amt_msat: i64::try_from(msat)?,
                ..bolt11(&self.static_invoice)
            },
            2 => bolt11(&shared.api(self.payee)?.invoice(msat).await?.payment_request),
            _ => keysend(to_key),
        })
    }

    /// An error is a call that was cut off or refused.
    async fn pay_once(&self, shared: &Shared) -> Result<()> {
        let request = self.request(shared).await?;
        let payment = shared.api(self.payer)?.pay(request).await?;
        ensure!(payment.status() == PaymentStatus::Succeeded, "it failed");
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Up to 3,000 sat, which covers HTLCs with and without an output of their own.
fn random_msat() -> u64 {
    let [low, high, ..] = by_hand::random();
    1_000 + 46 * u64::from(u16::from_le_bytes([low, high]))
}

fn keysend(to_key: SendPaymentRequest) -> SendPaymentRequest {
    let preimage = by_hand::random();
    SendPaymentRequest {
        amp: false,
        payment_hash: sha256::Hash::hash(&preimage).to_byte_array().to_vec(),
        dest_custom_records: [(KEYSEND, preimage.to_vec())].into(),
        ..to_key
    }
}

async fn work(way: Arc<Way>, shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        if way.pay_once(&shared).await.is_err() {
            sleep(PAUSE).await;
        }
    }
}
