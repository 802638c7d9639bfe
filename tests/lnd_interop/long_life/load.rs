//! Payments of all kinds in both directions, sixteen in flight at any time, whatever happens to the
//! nodes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{Api, amp_to, bolt11};
use regtest::manual_amp;
use regtest::network::Network;
use regtest::wait::wait_for;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{AMPD, BETWEEN, LND, LOAD_LIMIT};

const WORKERS_EACH_WAY: u64 = 8;
/// Pause after an error, so that a dead node is not called in a tight loop.
const ERROR_DELAY: Duration = Duration::from_millis(50);
const KEYSEND: u64 = 5_482_373_484;

/// A running load.
pub(super) struct Load {
    directions: [Arc<Direction>; 2],
    shared: Arc<Shared>,
    /// By payer.
    workers: BTreeMap<&'static str, JoinSet<()>>,
}

struct Shared {
    stop: AtomicBool,
    /// Clients of the nodes since their last start.
    apis: Mutex<BTreeMap<&'static str, Api>>,
}

/// One direction.
struct Direction {
    payer: &'static str,
    payee: &'static str,
    payee_key: String,
    static_invoice: String,
    started: AtomicU64,
    succeeded: AtomicU64,
}

impl Load {
    pub(super) async fn start(network: &Network) -> Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            apis: Mutex::default(),
        });
        let direction = async |payer, payee| Direction::new(network, payer, payee).await;
        let directions = [direction(AMPD, LND).await?, direction(LND, AMPD).await?].map(Arc::new);
        let mut load = Self {
            directions,
            shared,
            workers: BTreeMap::new(),
        };
        load.meet(network)?;
        for direction in &load.directions {
            let workers = load.workers.entry(direction.payer).or_default();
            for _ in 0..WORKERS_EACH_WAY {
                workers.spawn(work(direction.clone(), load.shared.clone()));
            }
        }
        Ok(load)
    }

    /// Updates the nodes' addresses; must be called after each start of a node.
    pub(super) fn meet(&self, network: &Network) -> Result<()> {
        for name in [AMPD, LND] {
            self.shared.meet(name, network[name].api()?);
        }
        Ok(())
    }

    /// Waits for new successful payments in both directions.
    pub(super) async fn go_on(&self) -> Result<()> {
        let counts = self
            .directions
            .iter()
            .map(|direction| direction.succeeded());
        self.wait(counts.map(|count| count + BETWEEN).collect(), LOAD_LIMIT)
            .await
    }

    /// Waits until this many payments in each direction have succeeded.
    pub(super) async fn wait_until(&self, each_way: u64, limit: Duration) -> Result<()> {
        self.wait(vec![each_way; self.directions.len()], limit)
            .await
    }

    async fn wait(&self, wanted: Vec<u64>, limit: Duration) -> Result<()> {
        wait_for("payments in both directions", limit, async || {
            for (direction, wanted) in self.directions.iter().zip(&wanted) {
                let now = direction.succeeded();
                ensure!(now >= *wanted, "{}: {now} of {wanted}", direction.payer);
            }
            Ok(())
        })
        .await
    }

    /// Starts no new payments and waits for those in flight. lnd may never finish one that it started while
    /// bitcoind was down: it sends no HTLC, and the payment stays in flight forever.
    pub(super) async fn stop(self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for (payer, workers) in self.workers {
            let ended = timeout(LOAD_LIMIT, workers.join_all()).await;
            ensure!(ended.is_ok() || payer == LND, "{payer} does not respond");
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
        apis.get(name).cloned().context("unknown node")
    }
}

impl Direction {
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

    /// Alternates between all kinds.
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

    /// Returns an error if the call was interrupted or refused.
    async fn pay_once(&self, shared: &Shared) -> Result<()> {
        let request = self.request(shared).await?;
        let payment = shared.api(self.payer)?.pay(request).await?;
        ensure!(
            payment.status() == PaymentStatus::Succeeded,
            "the payment failed"
        );
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Up to 3,000 sat, which covers dust HTLCs and others.
fn random_msat() -> u64 {
    let [low, high, ..] = manual_amp::random();
    1_000 + 46 * u64::from(u16::from_le_bytes([low, high]))
}

fn keysend(to_key: SendPaymentRequest) -> SendPaymentRequest {
    let preimage = manual_amp::random();
    SendPaymentRequest {
        amp: false,
        payment_hash: sha256::Hash::hash(&preimage).to_byte_array().to_vec(),
        dest_custom_records: [(KEYSEND, preimage.to_vec())].into(),
        ..to_key
    }
}

async fn work(direction: Arc<Direction>, shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        if direction.pay_once(&shared).await.is_err() {
            sleep(ERROR_DELAY).await;
        }
    }
}
