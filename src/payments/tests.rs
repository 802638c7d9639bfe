//! Payments over a mocked network.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::events::{Event, PathFailure};
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::routing::router::{Path, RouteHop};
use lightning_types::features::{ChannelFeatures, NodeFeatures};
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use tokio::sync::{mpsc, watch};

use super::lifecycle::Open;
use super::outbound_htlcs::{NoPaths, OutboundHtlcs, RouteQuestion};
use super::request::{Limits, Method, NewPayment, PaidInvoice};
use super::{PaymentView, Payments, SendError};
use crate::clock::unix_seconds;
use crate::model::attempt::AttemptState;
use crate::model::payment::{FailureReason, PaymentState};
use crate::storage::Store;
use crate::sync::lock;
use ldk_amp::PaymentAddr;

mod ends;
mod history;
mod probes;
mod restarts;
mod send_to_route;

/// The router's next answer: the amount in msat and the fee of each path.
type Answer = Result<Vec<(u64, u64)>, NoPaths>;

/// A route search as the router received it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    open: Open,
    failed_channels: Vec<u64>,
}

/// An HTLC that was passed to LDK.
#[derive(Debug, Clone)]
struct Htlc {
    id: PaymentId,
    hash: PaymentHash,
    path: Path,
    onion: RecipientOnionFields,
}

impl Htlc {
    /// The amount that the receiver gets.
    fn amount_msat(&self) -> u64 {
        self.path.final_value_msat()
    }
}

struct Network {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
    known: Mutex<Vec<PaymentId>>,
    sent: mpsc::UnboundedSender<Htlc>,
    refuses: bool,
}

impl OutboundHtlcs for Network {
    fn find_paths(&self, question: &RouteQuestion<'_>) -> Result<Vec<Path>, NoPaths> {
        lock(&self.asked).push(Asked {
            open: question.open,
            failed_channels: question.failed_channels.iter().map(|c| c.scid).collect(),
        });
        let open = question.open.amount_msat;
        let answer = lock(&self.answers).pop_front();
        let paths = answer.unwrap_or_else(|| Ok(vec![(open, 0)]))?;
        Ok(paths.into_iter().map(path).collect())
    }

    fn send(
        &self,
        path: Path,
        hash: PaymentHash,
        onion: RecipientOnionFields,
        id: PaymentId,
    ) -> Result<(), String> {
        if self.refuses {
            return Err("refused".into());
        }
        let mut known = lock(&self.known);
        assert!(!known.contains(&id), "sent twice");
        known.push(id);
        self.sent
            .send(Htlc {
                id,
                hash,
                path,
                onion,
            })
            .unwrap();
        Ok(())
    }

    fn usable_peer(&self, scid: u64) -> Option<PublicKey> {
        (scid == 11).then(|| key(2))
    }

    fn known(&self) -> Vec<PaymentId> {
        lock(&self.known).clone()
    }

    fn our_node_id(&self) -> PublicKey {
        key(1)
    }

    fn height(&self) -> u32 {
        1_000
    }

    fn random_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).unwrap();
        bytes
    }
}

fn key(n: u8) -> PublicKey {
    let secret = SecretKey::from_slice(&[n; 32]).unwrap();
    PublicKey::from_secret_key(&Secp256k1::new(), &secret)
}

/// A path over one forwarding node; our channel with it is 11, the next one 22.
fn path((amount_msat, fee_msat): (u64, u64)) -> Path {
    let hop = |n, short_channel_id, fee_msat| RouteHop {
        pubkey: key(n),
        node_features: NodeFeatures::empty(),
        short_channel_id,
        channel_features: ChannelFeatures::empty(),
        fee_msat,
        cltv_expiry_delta: 80,
        maybe_announced_channel: true,
    };
    Path {
        hops: vec![hop(2, 11, fee_msat), hop(3, 22, amount_msat)],
        blinded_tail: None,
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    network: Arc<Network>,
    payments: Arc<Payments>,
    sent: mpsc::UnboundedReceiver<Htlc>,
}

impl Fixture {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::open(directory, answers, Vec::new(), false)
    }

    fn open(
        directory: tempfile::TempDir,
        answers: impl IntoIterator<Item = Answer>,
        known: Vec<PaymentId>,
        refuses: bool,
    ) -> Self {
        let (sender, sent) = mpsc::unbounded_channel();
        let network = Arc::new(Network {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::default(),
            known: Mutex::new(known),
            sent: sender,
            refuses,
        });
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let runtime = tokio::runtime::Handle::current();
        let payments = Payments::new(store, network.clone(), runtime).unwrap();
        Self {
            directory,
            network,
            payments,
            sent,
        }
    }

    async fn htlcs(&mut self, count: usize) -> Vec<Htlc> {
        let mut htlcs = Vec::new();
        while htlcs.len() < count {
            let next = tokio::time::timeout(Duration::from_secs(20), self.sent.recv());
            htlcs.push(next.await.unwrap().unwrap());
        }
        htlcs
    }

    async fn htlc(&mut self) -> Htlc {
        self.htlcs(1).await.remove(0)
    }

    fn nothing_more_is_sent(&mut self) -> bool {
        self.sent.try_recv().is_err()
    }

    fn settle(&self, htlc: &Htlc) {
        let preimage = PaymentPreimage(htlc.hash.0.map(|byte| !byte));
        self.payments.payment_sent(&htlc.id, &preimage);
    }

    /// In LDK's order: the path failure, then the payment failure.
    fn fail(&self, htlc: &Htlc, by_receiver: bool, channel: Option<u64>) {
        let failure = PathFailure::OnPath {
            network_update: None,
        };
        self.payments
            .payment_path_failed(&htlc.id, by_receiver, &failure, &htlc.path, channel);
        self.payments.payment_failed(&htlc.id);
    }

    async fn send(&self, amount_msat: u64) -> watch::Receiver<PaymentView> {
        self.payments.send(amp(amount_msat)).await.unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        lock(&self.network.asked).clone()
    }

    /// Ended payments are not kept in memory.
    fn is_empty(&self) -> bool {
        lock(&self.payments.active).is_empty() && lock(&self.payments.attempts).is_empty()
    }
}

fn amp(amount_msat: u64) -> NewPayment {
    NewPayment {
        destination: key(3),
        amount_msat,
        final_cltv_delta: 80,
        method: Method::Amp { payment_addr: None },
        invoice: None,
        route_hints: Vec::new(),
        custom_records: Default::default(),
        allow_self_payment: false,
        limits: limits(),
    }
}

fn limits() -> Limits {
    Limits {
        fee_limit_msat: 100,
        timeout_seconds: 60,
        max_parts: 4,
        max_shard_msat: 0,
        cltv_limit: 0,
        outgoing_channels: Vec::new(),
        last_hop: None,
    }
}

fn bolt11(hash: u8) -> NewPayment {
    NewPayment {
        method: Method::Hash {
            payment_hash: PaymentHash([hash; 32]),
            payment_addr: Some(PaymentAddr::from_bytes([1; 32])),
            multi_part: true,
        },
        ..amp(100)
    }
}

/// An invoice that is valid until this time (seconds since 1970).
fn invoice(expires_at: u64) -> PaidInvoice {
    PaidInvoice {
        payment_request: "lnbcrt1".into(),
        expires_at,
        route_hints: Vec::new(),
        payment_metadata: None,
    }
}

async fn end(views: &mut watch::Receiver<PaymentView>) -> PaymentView {
    let ended = views.wait_for(PaymentView::is_final);
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    ended.unwrap().unwrap().clone()
}

fn states(view: &PaymentView) -> Vec<AttemptState> {
    view.attempts.iter().map(|attempt| attempt.state).collect()
}

/// The payment as stored.
fn stored(payments: &Payments, view: &PaymentView) -> PaymentView {
    let record = payments.store.payment(&view.record.identifier).unwrap();
    let record = record.unwrap();
    let attempts = payments.store.attempts(record.payment_index).unwrap();
    PaymentView { record, attempts }
}
