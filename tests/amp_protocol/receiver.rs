//! A receiving node of the network, with ampd's invoice registry handling its events.

use std::cell::Cell;
use std::sync::Arc;

use ampd::invoices::{
    InboundHtlcs, InvoiceError, InvoiceView, Limits, NewInvoice, Purpose, Registry,
    SingleSubscription,
};
use ampd::ldk::KeysManager;
use ampd::model::htlc::{HtlcRecord, HtlcState, SetRecord};
use ampd::model::invoice::{InvoicePage, InvoiceRecord, InvoiceRef};
use ampd::node::ManagerInboundHtlcs;
use ampd::storage::{Change, Store};
use bitcoin::Network as Chain;
use ldk_amp::EnvelopeKey;
use ldk_amp::SetId;
use lightning::events::{Event, EventsProvider, ReplayEvent};
use lightning::types::payment::PaymentPreimage;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::network::{Network, TestManager, envelope_key};

/// A set as stored, with the states of its HTLCs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoredSet {
    pub state: HtlcState,
    pub amt_paid_msat: u64,
    /// In order of arrival if all arrived over one channel.
    pub htlcs: Vec<HtlcState>,
}

/// A node that receives payments.
pub(crate) struct Receiver {
    manager: &'static TestManager,
    port: Arc<dyn InboundHtlcs>,
    envelope_key: EnvelopeKey,
    runtime: Runtime,
    directory: TempDir,
    limits: Limits,
    store: Arc<Store>,
    pub registry: Arc<Registry>,
    /// If true, LDK keeps every event after it was handled, as if the node stopped right then.
    pub keep_events: Cell<bool>,
}

impl Receiver {
    pub(crate) fn new(network: &Network, node: usize, limits: Limits) -> Self {
        let manager = network.nodes[node].node;
        let gateway = network.gateways[node].clone();
        let port: Arc<dyn InboundHtlcs> = Arc::new(ManagerInboundHtlcs::new(manager, gateway));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let directory = TempDir::new().unwrap();
        let (store, registry) = open(&directory, &port, &runtime, limits);
        Self {
            manager,
            port,
            envelope_key: envelope_key(node),
            runtime,
            directory,
            limits,
            store,
            registry,
            keep_events: Cell::new(false),
        }
    }

    /// Applies these changes, then closes and reopens the store.
    pub(crate) fn restart_after(&mut self, changes: Vec<Box<dyn Change>>) {
        self.store.submit(changes);
        self.store.close().unwrap();
        (self.store, self.registry) = open(&self.directory, &self.port, &self.runtime, self.limits);
    }

    pub(crate) fn restart(&mut self) {
        self.restart_after(Vec::new());
    }

    /// Passes LDK's events to the registry. Returns false if there were none.
    pub(crate) fn handle_events(&self) -> bool {
        let any = Cell::new(false);
        self.manager.process_pending_events(&|event| {
            if self.keep_events.get() {
                self.handle(event);
                return Err(ReplayEvent());
            }
            any.set(true);
            self.handle(event);
            Ok(())
        });
        any.get()
    }

    /// Handles an event as `node::events` does.
    fn handle(&self, event: Event) {
        match self.registry.handle(&self.envelope_key, event) {
            None
            // LDK refused the HTLC before matching it to a payment.
            | Some(Event::HTLCHandlingFailed { .. }) => {}
            Some(other) => panic!("unexpected event of the receiver: {other:?}"),
        }
    }

    pub(crate) fn settle_hold(&self, preimage: PaymentPreimage) -> Result<(), InvoiceError> {
        let settled = self.registry.settle_hold(preimage);
        self.runtime.block_on(settled)
    }

    /// Returns the HTLCs of the invoice with this add index.
    pub(crate) fn htlcs_of_invoice(&self, add_index: u64) -> Vec<HtlcRecord> {
        self.store().htlcs_of_invoice(add_index).unwrap()
    }

    /// Adds a static invoice.
    pub(crate) fn add_amp_invoice(&self, value_msat: u64) -> InvoiceRecord {
        self.add(NewInvoice {
            purpose: Purpose::Amp,
            value_msat,
            ..NewInvoice::default()
        })
    }

    pub(crate) fn add(&self, new: NewInvoice) -> InvoiceRecord {
        self.runtime.block_on(self.registry.add(new)).unwrap()
    }

    pub(crate) fn cancel(&self, by: &InvoiceRef) {
        self.runtime.block_on(self.registry.cancel(by)).unwrap();
    }

    pub(crate) fn set_enabled(&self, by: &InvoiceRef, enabled: bool) {
        let done = self.registry.set_enabled(by, enabled);
        self.runtime.block_on(done).unwrap();
    }

    pub(crate) fn subscribe_single(&self, by: &InvoiceRef) -> SingleSubscription {
        self.registry.subscribe_single(by).unwrap()
    }

    pub(crate) fn next_change(&self, changes: &mut SingleSubscription) -> InvoiceView {
        self.runtime.block_on(changes.next()).unwrap().unwrap()
    }

    /// Runs the registry's timers on the real clock until the condition holds.
    pub(crate) fn run_timers_until(&self, condition: impl Fn(&Self) -> bool) {
        let stop = CancellationToken::new();
        let (registry, ended) = (self.registry.clone(), stop.clone());
        let timers = self
            .runtime
            .spawn(async move { registry.run_timers(ended).await });
        while !condition(self) {}
        stop.cancel();
        self.runtime.block_on(timers).unwrap();
    }

    /// Returns the store after everything queued so far is on disk.
    pub(crate) fn store(&self) -> &Store {
        let ticket = self.store.submit(Vec::new());
        self.runtime.block_on(self.store.durable(ticket));
        &self.store
    }

    pub(crate) fn set(&self, set_id: SetId) -> Option<SetRecord> {
        self.store().set(&set_id).unwrap()
    }

    pub(crate) fn htlcs(&self, set_id: SetId) -> Vec<HtlcRecord> {
        self.store().htlcs_of_set(&set_id).unwrap()
    }

    pub(crate) fn stored_set(&self, set_id: SetId) -> Option<StoredSet> {
        let htlcs = self.htlcs(set_id).iter().map(|htlc| htlc.state).collect();
        self.set(set_id).map(|set| StoredSet {
            state: set.state,
            amt_paid_msat: set.amt_paid_msat,
            htlcs,
        })
    }

    pub(crate) fn invoices(&self) -> Vec<InvoiceRecord> {
        let page = InvoicePage {
            limit: u64::MAX,
            ..InvoicePage::default()
        };
        self.store().invoices(&page).unwrap()
    }
}

fn open(
    directory: &TempDir,
    port: &Arc<dyn InboundHtlcs>,
    runtime: &Runtime,
    limits: Limits,
) -> (Arc<Store>, Arc<Registry>) {
    let _inside = runtime.enter();
    let store = Arc::new(Store::open(directory.path()).unwrap());
    let keys = Arc::new(KeysManager::new(&[9; 32], 1, 1, true));
    let registry =
        Registry::new(store.clone(), port.clone(), keys, Chain::Regtest, limits).unwrap();
    registry.restore().unwrap();
    (store, Arc::new(registry))
}
