//! A test registry with a channel manager that records instructions, and shards of payments to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use super::{Claimable, InboundHtlcs, IncomingHtlc, InvoiceEvent, Limits, Registry, Subscription};
use crate::ldk::KeysManager;
use crate::model::htlc::{HtlcState, SetRecord};
use crate::model::invoice::InvoiceRecord;
use crate::storage::Store;
use ldk_amp::Envelope;
use ldk_amp::{AmpRecord, HtlcKey, MppRecord, PaymentAddr, SetId, SetLimits, Share, Splitter};

pub(super) const HEIGHT: u32 = 1_000;
pub(super) const LIMITS: Limits = Limits {
    accept_amp: true,
    accept_keysend: true,
    set: SetLimits {
        max_htlcs: 5,
        hold_seconds: 120,
        claim_margin_blocks: 2,
    },
    max_open_sets: 3,
    max_held_per_channel: 6,
    default_cltv_delta: 80,
};

/// An instruction to LDK about an HTLC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Claim(PaymentHash),
    Fail(PaymentHash),
    TimeOut(PaymentHash),
}

/// LDK's side: its HTLCs, and the instructions that it got.
#[derive(Default)]
pub(super) struct Port {
    pub(super) answers: Mutex<Vec<Answer>>,
    pub(super) present: Mutex<Vec<(PaymentHash, IncomingHtlc)>>,
    /// Blocks since [`HEIGHT`].
    pub(super) blocks: AtomicU32,
    /// All channels are closed.
    pub(super) channels_closed: AtomicBool,
}

impl Port {
    fn answer(&self, answer: Answer) {
        self.answers.lock().unwrap().push(answer);
    }

    /// The instructions since the last call.
    pub(super) fn answers(&self) -> Vec<Answer> {
        std::mem::take(&mut self.answers.lock().unwrap())
    }

    pub(super) fn forget(&self, key: HtlcKey) {
        let mut present = self.present.lock().unwrap();
        present.retain(|(_, htlc)| htlc.key != key);
    }
}

impl InboundHtlcs for Port {
    fn claim(&self, preimage: PaymentPreimage) {
        self.answer(Answer::Claim(preimage.into()));
    }

    fn fail(&self, hash: &PaymentHash) {
        self.answer(Answer::Fail(*hash));
    }

    fn fail_timed_out(&self, hash: &PaymentHash, _: &Envelope) {
        self.answer(Answer::TimeOut(*hash));
    }

    fn height(&self) -> u32 {
        HEIGHT + self.blocks.load(Ordering::Relaxed)
    }

    fn incoming(&self, hash: &PaymentHash) -> Vec<IncomingHtlc> {
        let present = self.present.lock().unwrap();
        let of_hash = present.iter().filter(|(h, _)| h == hash);
        of_hash.map(|(_, htlc)| *htlc).collect()
    }

    fn incoming_on(&self, _: &[ChannelId], hash: &PaymentHash) -> Vec<IncomingHtlc> {
        self.incoming(hash)
    }

    fn process_pending(&self) {}

    fn all_incoming(&self) -> Vec<HtlcKey> {
        let present = self.present.lock().unwrap();
        present.iter().map(|(_, htlc)| htlc.key).collect()
    }

    fn scid(&self, _: &ChannelId) -> u64 {
        if self.channels_closed.load(Ordering::Relaxed) {
            0
        } else {
            42
        }
    }
}

/// The set id of 32 such bytes.
pub(super) const fn set_id(byte: u8) -> SetId {
    SetId::from_bytes([byte; 32])
}

/// The payment address of 32 such bytes.
pub(super) const fn payment_addr(byte: u8) -> PaymentAddr {
    PaymentAddr::from_bytes([byte; 32])
}

pub(super) fn hash_of(preimage: &[u8; 32]) -> PaymentHash {
    PaymentHash(sha256::Hash::hash(preimage).to_byte_array())
}

/// A registry with a store of its own. Requires a tokio runtime.
pub(super) struct Fixture {
    directory: tempfile::TempDir,
    limits: Limits,
    pub(super) store: Arc<Store>,
    pub(super) port: Arc<Port>,
    pub(super) registry: Arc<Registry>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(LIMITS)
    }

    pub(super) fn with(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::open(directory, limits, Arc::default())
    }

    fn open(directory: tempfile::TempDir, limits: Limits, port: Arc<Port>) -> Self {
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let keys = Arc::new(KeysManager::new(&[7; 32], 1, 1, true));
        let registry =
            Registry::new(store.clone(), port.clone(), keys, Network::Regtest, limits).unwrap();
        registry.restore().unwrap();
        Self {
            directory,
            limits,
            store,
            port,
            registry: Arc::new(registry),
        }
    }

    /// Restarts: a new registry on the same database; LDK keeps its HTLCs.
    pub(super) fn restart(self) -> Self {
        let limits = self.limits;
        self.restart_with(limits)
    }

    pub(super) fn restart_with(self, limits: Limits) -> Self {
        self.store.close().unwrap();
        Self::open(self.directory, limits, self.port)
    }

    /// LDK reports this shard as claimable.
    pub(super) fn arrive(&self, shard: &Sent) -> Vec<Answer> {
        let htlc = IncomingHtlc {
            key: shard.envelope.key(),
            amount_msat: shard.claimable.amount_msat,
            cltv_expiry: shard.envelope.cltv_expiry,
        };
        let mut present = self.port.present.lock().unwrap();
        present.retain(|(_, other)| other.key != htlc.key);
        present.push((shard.hash(), htlc));
        drop(present);
        self.registry.accept_amp(&shard.claimable, &shard.envelope);
        self.port.answers()
    }

    /// The latest instructions for all of these.
    pub(super) fn arrive_all(&self, shards: &[Sent]) -> Vec<Answer> {
        shards.iter().flat_map(|shard| self.arrive(shard)).collect()
    }

    pub(super) fn invoices(&self) -> Vec<InvoiceRecord> {
        self.store.flush();
        let page = crate::model::invoice::InvoicePage {
            limit: u64::MAX,
            ..Default::default()
        };
        self.store.invoices(&page).unwrap()
    }

    pub(super) fn set(&self, id: u8) -> Option<SetRecord> {
        self.store.flush();
        self.store.set(&set_id(id)).unwrap()
    }

    /// The state of the HTLC's row; `None` if there is none.
    pub(super) fn state(&self, shard: &Sent) -> Option<HtlcState> {
        self.store.flush();
        let key = shard.envelope.key();
        let row = self.store.htlc(&key).unwrap();
        row.map(|row| row.state)
    }

    pub(super) fn subscribe(&self, add_index: u64, settle_index: u64) -> Subscription {
        self.registry.subscribe(add_index, settle_index).unwrap()
    }
}

/// A shard as it arrives. Tests modify it before sending.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) claimable: Claimable,
    pub(super) envelope: Envelope,
}

impl Sent {
    pub(super) fn hash(&self) -> PaymentHash {
        self.claimable.payment_hash
    }

    /// Sets the total of the payment.
    pub(super) fn total(mut self, total_msat: u64) -> Self {
        self.envelope.mpp.as_mut().unwrap().total_msat = total_msat;
        self
    }

    /// Sends it to another invoice.
    pub(super) fn to(mut self, addr: PaymentAddr) -> Self {
        self.envelope.mpp.as_mut().unwrap().payment_addr = addr;
        self
    }

    pub(super) fn on_channel(mut self, channel: u8) -> Self {
        self.envelope.channel_id = ChannelId([channel; 32]);
        self
    }

    pub(super) fn expiring(mut self, height: u32) -> Self {
        self.envelope.cltv_expiry = height;
        self.claimable.claim_deadline = Some(height - 39);
        self
    }

    pub(super) fn with_wrong_share(mut self) -> Self {
        self.envelope.amp.share = Share::from_bytes([0xee; 32]);
        self
    }
}

/// The shards of a payment. Its set id and its payment address are `id`.
pub(super) fn payment(id: u8, amounts: &[u64]) -> Vec<Sent> {
    let mut splitter = Splitter::new(Share::from_bytes([id; 32]));
    let total_msat = amounts.iter().sum();
    let shard = |(n, amount_msat): (usize, &u64)| {
        let n = n as u8;
        let last = usize::from(n) + 1 == amounts.len();
        let random = hash_of(&[n * 16 + amounts.len() as u8; 32]).0;
        let shard = splitter.next_shard(random, n.into(), last).unwrap();
        let amp = AmpRecord {
            share: shard.share,
            set_id: set_id(id),
            child_index: shard.index,
        };
        sent(shard.child.hash, *amount_msat, total_msat, amp, n)
    };
    amounts.iter().enumerate().map(shard).collect()
}

fn sent(hash: PaymentHash, amount_msat: u64, total_msat: u64, amp: AmpRecord, n: u8) -> Sent {
    let id = amp.set_id.to_bytes()[0];
    let key = SecretKey::from_slice(&[n + 1; 32]).unwrap();
    Sent {
        claimable: Claimable {
            payment_hash: hash,
            amount_msat,
            claim_deadline: Some(HEIGHT + 61),
            channels: Vec::new(),
            custom_records: BTreeMap::from([(65_537, vec![n])]),
        },
        envelope: Envelope {
            mpp: Some(MppRecord {
                payment_addr: payment_addr(id),
                total_msat,
            }),
            amp,
            channel_id: ChannelId([1; 32]),
            htlc_id: u64::from(id) * 256 + u64::from(n),
            cltv_expiry: HEIGHT + 100,
            ephemeral_key: PublicKey::from_secret_key(&Secp256k1::new(), &key),
            hidden: Vec::new(),
        },
    }
}

pub(super) fn claims<'a>(shards: impl IntoIterator<Item = &'a Sent>) -> Vec<Answer> {
    let claim = |shard: &Sent| Answer::Claim(shard.hash());
    shards.into_iter().map(claim).collect()
}

pub(super) fn fails<'a>(shards: impl IntoIterator<Item = &'a Sent>) -> Vec<Answer> {
    let fail = |shard: &Sent| Answer::Fail(shard.hash());
    shards.into_iter().map(fail).collect()
}

/// A summary of the event: whether something was settled, and its index.
pub(super) async fn next(events: &mut Subscription) -> (&'static str, u64) {
    match events.next().await.unwrap().unwrap() {
        InvoiceEvent::Added(view) => ("added", view.record.add_index),
        InvoiceEvent::Settled(view) => {
            let set = view.sets.first().and_then(|set| set.settle_index);
            ("settled", set.or(view.record.settle_index).unwrap())
        }
        InvoiceEvent::Accepted(view) => ("accepted", view.record.add_index),
        InvoiceEvent::Canceled(view) => ("canceled", view.record.add_index),
    }
}
