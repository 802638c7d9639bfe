//! A registry on a database with a history, and a channel manager that accepts everything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ampd::invoices::{
    Claimable, InboundHtlcs, IncomingHtlc, InvoiceEvent, Limits, NewInvoice, Registry, Subscription,
};
use ampd::ldk::KeysManager;
use ampd::model::invoice::{HtlcSelection, InvoiceRef};
use ampd::storage::Store;
use anyhow::{Context, Result, ensure};
use bitcoin::Network;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use ldk_amp::Envelope;
use ldk_amp::{AmpRecord, HtlcKey, MppRecord, SetId, SetLimits, Share, Splitter};
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::common::fill::{self, History, bytes};

const HEIGHT: u32 = 900_000;

/// A stub of the channel manager: knows the latest HTLC and counts claims.
#[derive(Default)]
struct Port {
    last: Mutex<Option<(PaymentHash, IncomingHtlc)>>,
    claimed: Mutex<u64>,
}

impl Port {
    fn set_last(&self, hash: PaymentHash, htlc: IncomingHtlc) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((hash, htlc));
    }

    fn last(&self) -> Option<(PaymentHash, IncomingHtlc)> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claimed(&self) -> u64 {
        *self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InboundHtlcs for Port {
    fn claim(&self, _: PaymentPreimage) {
        *self.claimed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn fail(&self, _: &PaymentHash) {}

    fn fail_timed_out(&self, _: &PaymentHash, _: &Envelope) {}

    fn height(&self) -> u32 {
        HEIGHT
    }

    fn incoming(&self, hash: &PaymentHash) -> Vec<IncomingHtlc> {
        let last = self.last().filter(|(last, _)| last == hash);
        last.map(|(_, htlc)| htlc).into_iter().collect()
    }

    fn incoming_on(&self, _: &[ChannelId], hash: &PaymentHash) -> Vec<IncomingHtlc> {
        self.incoming(hash)
    }

    fn process_pending(&self) {}

    fn all_incoming(&self) -> Vec<HtlcKey> {
        self.last().map(|(_, htlc)| htlc.key).into_iter().collect()
    }

    fn scid(&self, _: &ChannelId) -> u64 {
        1
    }
}

/// The subject of the benchmark.
pub(crate) struct Fixture {
    pub history: History,
    store: Arc<Store>,
    registry: Registry,
    port: Arc<Port>,
    events: Subscription,
    /// Counts operations, so that none is repeated.
    count: u64,
}

impl Fixture {
    /// Creates the database in `dir` and opens a registry on it.
    pub(crate) async fn build(dir: &Path, history: History) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let filled = Arc::new(Store::open(dir)?);
        fill::fill(&filled, history).await;
        filled.close()?;
        drop(filled);
        let store = Arc::new(Store::open(dir)?);
        let port = Arc::<Port>::default();
        let limits = Limits {
            accept_amp: true,
            accept_keysend: false,
            set: SetLimits::default(),
            max_open_sets: 100,
            max_held_per_channel: 100,
            default_cltv_delta: 80,
        };
        let keys = Arc::new(KeysManager::new(&[7; 32], 1, 1, true));
        let registry = Registry::new(store.clone(), port.clone(), keys, Network::Regtest, limits)?;
        registry.restore()?;
        let events = registry.subscribe(0, 0)?;
        Ok(Self {
            history,
            store,
            registry,
            port,
            events,
            count: 0,
        })
    }

    /// AddInvoice, until it is on disk and subscribers are notified.
    pub(crate) async fn add_invoice(&mut self) -> Result<Duration> {
        let new = NewInvoice {
            memo: "one more".into(),
            value_msat: 50_000,
            ..NewInvoice::default()
        };
        let start = Instant::now();
        self.registry.add(new).await?;
        let took = start.elapsed();
        self.event().await?;
        Ok(took)
    }

    /// LookupInvoiceV2 without gRPC, of a different paid BOLT 11 invoice each time.
    pub(crate) fn lookup(&mut self) -> Result<Duration> {
        self.count += 1;
        let add_index = crate::ordinary(self.history, self.count);
        let by = InvoiceRef::Hash(fill::invoice_hash(add_index));
        let start = Instant::now();
        let found = self.registry.lookup(&by, HtlcSelection::All)?;
        let took = start.elapsed();
        ensure!(
            found.htlcs.len() > 1,
            "invoice {add_index} has fewer than two HTLCs"
        );
        Ok(took)
    }

    /// Another payment to the static invoice: from the HTLC to the settled set on disk and the
    /// claim.
    pub(crate) async fn accept_and_settle(&mut self) -> Result<Duration> {
        self.count += 1;
        let (claimable, envelope) = self.shard()?;
        let hash = claimable.payment_hash;
        let claimed = self.port.claimed();
        let start = Instant::now();
        self.registry.accept_amp(&claimable, &envelope);
        // In the node, the claim's monitor update triggers the write.
        self.store.submit(Vec::new());
        let event = self.event().await?;
        let took = start.elapsed();
        ensure!(matches!(event, InvoiceEvent::Settled(_)), "not settled");
        ensure!(self.port.claimed() == claimed + 1, "not claimed");
        // Waits until LDK's answer is written as well, before the next sample.
        self.registry.payment_claimed(&hash);
        let written = self.store.submit(Vec::new());
        self.store.durable(written).await;
        Ok(took)
    }

    async fn event(&mut self) -> Result<InvoiceEvent> {
        self.events.next().await?.context("no more events")
    }

    /// An HTLC that is a complete payment to the static invoice.
    fn shard(&self) -> Result<(Claimable, Envelope)> {
        let n = self.count;
        let mut splitter = Splitter::new(Share::from_bytes(bytes("root", n)));
        let shard = splitter.next_shard(bytes("random", n), 0, true)?;
        let payment_hash = shard.child.hash;
        let (amount_msat, cltv_expiry) = (1_000 + n, HEIGHT + 100);
        let claimable = Claimable {
            payment_hash,
            amount_msat,
            claim_deadline: Some(cltv_expiry - 39),
            channels: Vec::new(),
            custom_records: BTreeMap::from([(lnd_api::tlv::MESSAGE, b"for the tea".to_vec())]),
        };
        let key = SecretKey::from_slice(&bytes("ephemeral", n))?;
        let envelope = Envelope {
            mpp: Some(MppRecord {
                payment_addr: fill::static_addr(),
                total_msat: amount_msat,
            }),
            amp: AmpRecord {
                share: shard.share,
                set_id: SetId::from_bytes(bytes("new set", n)),
                child_index: shard.index,
            },
            channel_id: ChannelId(bytes("channel", 0)),
            // Higher than all in the history.
            htlc_id: (1 << 40) + n,
            cltv_expiry,
            ephemeral_key: PublicKey::from_secret_key(&Secp256k1::new(), &key),
            hidden: Vec::new(),
        };
        let htlc = IncomingHtlc {
            key: envelope.key(),
            amount_msat,
            cltv_expiry,
        };
        self.port.set_last(payment_hash, htlc);
        Ok((claimable, envelope))
    }

    /// Writes pending changes and closes the database.
    pub(crate) fn close(self) -> Result<()> {
        Ok(self.store.close()?)
    }
}
