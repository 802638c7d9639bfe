//! The invoice registry: what all decisions about invoices share.

use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::Network;
use lightning_types::payment::PaymentHash;
use lightning_types::routing::RouteHint;
use tokio::sync::Notify;

use super::announcer::Announcer;
use super::create::Signer;
use super::inbound_htlcs::InboundHtlcs;
use super::state::State;
use crate::ldk::KeysManager;
use crate::storage::invoices::MarkClaimed;
use crate::storage::{StorageError, Store};
use crate::sync::lock;
use crash_points::Point;
use ldk_amp::SetLimits;

/// What the node accepts, and how much it holds for unknown payers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Accept spontaneous AMP payments (without an invoice).
    pub accept_amp: bool,
    /// Accept keysend payments.
    pub accept_keysend: bool,
    /// Limits on the HTLCs of one set, and how long they are held.
    pub set: SetLimits,
    /// The maximum number of incomplete sets.
    pub max_open_sets: usize,
    /// The maximum number of HTLCs of incomplete sets on one channel (of at most 483, BOLT 2).
    pub max_held_per_channel: usize,
    /// The final CLTV delta of invoices whose request has none, in blocks.
    pub default_cltv_delta: u32,
}

/// Returns route hints over our unannounced channels for an amount in msat, in addition to the given hints.
pub type OwnHints = dyn Fn(u64, &[RouteHint]) -> Vec<RouteHint> + Send + Sync;

/// The registry of all invoices of this node.
pub struct Registry {
    pub(super) store: Arc<Store>,
    pub(super) inbound: Arc<dyn InboundHtlcs>,
    pub(super) keys: Arc<KeysManager>,
    pub(super) limits: Limits,
    pub(super) own_hints: Arc<OwnHints>,
    network: Network,
    state: Mutex<State>,
    pub(super) announcer: Announcer,
    /// Notified when an HTLC times out before the timer's planned wake-up.
    pub(super) timer: Notify,
    /// Notified when an invoice expires before the expiry task's planned wake-up.
    pub(super) expiry: Arc<Notify>,
}

impl Registry {
    /// Creates the registry. Call [`Registry::restore`] before LDK events are handled.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn new(
        store: Arc<Store>,
        inbound: Arc<dyn InboundHtlcs>,
        keys: Arc<KeysManager>,
        network: Network,
        limits: Limits,
    ) -> Result<Self, StorageError> {
        let (last_add_index, last_settle_index) = store.invoice_indices()?;
        let expiry = Arc::new(Notify::new());
        Ok(Self {
            announcer: Announcer::start(store.clone()),
            store,
            inbound,
            keys,
            limits,
            own_hints: Arc::new(|_, _| Vec::new()),
            network,
            state: Mutex::new(State::new(
                last_add_index,
                last_settle_index,
                expiry.clone(),
            )),
            timer: Notify::new(),
            expiry,
        })
    }

    /// Adds these route hints to private invoices.
    #[must_use]
    pub fn with_own_hints(self, own_hints: Arc<OwnHints>) -> Self {
        Self { own_hints, ..self }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Returns the signer of payment requests.
    pub(super) fn signer(&self) -> Signer<'_> {
        Signer {
            keys: &self.keys,
            network: self.network,
        }
    }

    /// Handles `Event::PaymentClaimed`: LDK has carried out the claim.
    pub fn payment_claimed(&self, hash: &PaymentHash) {
        crash_points::at(Point::BeforeClaimed);
        self.store.submit_deferred(MarkClaimed {
            payment_hash: *hash,
        });
    }

    /// Applies a change to the channels while no decision is in progress. Blocks are connected
    /// through this: they make LDK fail HTLCs back, which must not happen between the decision on a
    /// set and its last claim.
    pub fn between_decisions(&self, change: impl FnOnce()) {
        let _state = self.state();
        change();
    }
}
