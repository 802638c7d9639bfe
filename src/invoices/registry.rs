//! The invoice registry: adding invoices, subscriptions, and the state that all decisions share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use lightning::sign::EntropySource;
use lightning_types::payment::{PaymentHash, PaymentSecret};
use tokio::sync::Notify;

use super::accept_amp::Refusal;
use super::create::{NewInvoice, Purpose, Signer};
use super::ledger::Ledger;
use super::port::ChannelPort;
use super::subscribe::{Announcer, InvoiceEvent, Subscription};
use super::subscribe_one::Followers;
use super::{InvoiceError, InvoiceView};
use crate::ldk::KeysManager;
use crate::storage::invoices::{
    InvoiceKind, InvoiceRecord, InvoiceState, InvoiceTerms, MarkClaimed, PutInvoice,
};
use crate::storage::{Health, StorageError, Store, Ticket};
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

/// The registry of all invoices of this node.
pub struct Registry {
    pub(super) store: Arc<Store>,
    pub(super) port: Arc<dyn ChannelPort>,
    pub(super) keys: Arc<KeysManager>,
    pub(super) limits: Limits,
    network: Network,
    ledger: Mutex<Ledger>,
    announcer: Announcer,
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
        port: Arc<dyn ChannelPort>,
        keys: Arc<KeysManager>,
        network: Network,
        limits: Limits,
    ) -> Result<Self, StorageError> {
        let (last_add_index, last_settle_index) = store.invoice_indices()?;
        let expiry = Arc::new(Notify::new());
        Ok(Self {
            announcer: Announcer::start(store.clone()),
            store,
            port,
            keys,
            limits,
            network,
            ledger: Mutex::new(Ledger::new(
                last_add_index,
                last_settle_index,
                expiry.clone(),
            )),
            timer: Notify::new(),
            expiry,
        })
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an invoice. It is on disk when this returns.
    ///
    /// # Errors
    /// [`InvoiceError`] if the request is invalid, the hash is in use, or the database is not
    /// writable.
    pub async fn add(&self, new: NewInvoice) -> Result<InvoiceRecord, InvoiceError> {
        let (record, ticket) = self.add_now(new)?;
        self.store.durable(ticket).await;
        Ok(record)
    }

    fn add_now(&self, new: NewInvoice) -> Result<(InvoiceRecord, Ticket), InvoiceError> {
        let checked = new.check(self.limits.default_cltv_delta)?;
        if let Health::Failing(why) = &*self.store.health().borrow() {
            return Err(InvoiceError::NotWriting(why.clone()));
        }
        let (kind, hash, preimage) = self.identity(new.purpose);
        let now = now();
        let signer = self.signer();
        let secret = match kind {
            InvoiceKind::Amp => PaymentSecret(self.keys.get_secure_random_bytes()),
            _ => signer.payment_secret(&new, &checked, hash, now)?,
        };
        let payment_request = signer.request(&new, &checked, hash, secret, now)?;
        let mut ledger = self.ledger();
        self.free_hash(&mut ledger, &hash)?;
        let record = InvoiceRecord {
            add_index: ledger.next_add_index(),
            kind,
            payment_hash: hash.0,
            payment_addr: secret.0,
            preimage,
            terms: InvoiceTerms {
                memo: new.memo,
                description_hash: new.description_hash,
                payment_request,
                expiry: checked.expiry,
                cltv_delta: checked.cltv_delta,
                private: new.private,
            },
            value_msat: new.value_msat,
            created_at: now,
            expires_at: checked.expires_at(now),
            state: InvoiceState::Open,
            settle_index: None,
            settled_at: None,
            amt_paid_msat: 0,
        };
        let ticket = self.store.submit(PutInvoice(record.clone()));
        ledger.remember(&self.store, record.clone(), ticket);
        self.announce(ticket, InvoiceEvent::Added(unpaid(record.clone())));
        Ok((record, ticket))
    }

    /// Ensures that a new invoice can use this hash.
    ///
    /// Shards of an incomplete spontaneous AMP payment are failed back: otherwise anyone who learns
    /// the hash in advance could block it. A completed one keeps the hash: its preimage is known to
    /// others, who could settle a new invoice with that hash.
    fn free_hash(&self, ledger: &mut Ledger, hash: &PaymentHash) -> Result<(), InvoiceError> {
        if let Some((set_id, key)) = ledger.open.find(hash) {
            self.fail_back(ledger, &[(set_id, vec![key])], Refusal::Canceled);
        }
        let Some(other) = self.find_by_hash(ledger, &hash.0)? else {
            return Ok(());
        };
        if other.kind != InvoiceKind::SpontaneousAmp || other.expires_at.is_none() {
            return Err(InvoiceError::Duplicate);
        }
        self.fail_back_all(ledger, other.add_index, Vec::new());
        self.delete_unpaid(ledger, other);
        Ok(())
    }

    /// Returns the signer of payment requests.
    pub(super) fn signer(&self) -> Signer<'_> {
        Signer {
            keys: &self.keys,
            network: self.network,
        }
    }

    /// The invoice kind, the payment hash, and the preimage if it is known.
    fn identity(&self, purpose: Purpose) -> (InvoiceKind, PaymentHash, Option<[u8; 32]>) {
        match purpose {
            Purpose::Once { preimage } => {
                let preimage = preimage.unwrap_or_else(|| self.keys.get_secure_random_bytes());
                let hash = sha256::Hash::hash(&preimage).to_byte_array();
                (InvoiceKind::Bolt11, PaymentHash(hash), Some(preimage))
            }
            Purpose::Hold { hash } => (InvoiceKind::Hold, PaymentHash(hash), None),
            Purpose::Amp => {
                let name = self.keys.get_secure_random_bytes();
                (InvoiceKind::Amp, PaymentHash(name), None)
            }
        }
    }

    /// Subscribes to events from now on, after those missed since the given indices (0: skip the
    /// past).
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn subscribe(
        &self,
        add_index: u64,
        settle_index: u64,
    ) -> Result<Subscription, StorageError> {
        // Subscribe first, so that no event is lost; `Subscription` drops duplicates.
        let live = self.announcer.subscribe();
        Subscription::new(self.store.clone(), live, add_index, settle_index)
    }

    /// Handles `Event::PaymentClaimed`: LDK has carried out the claim.
    pub fn payment_claimed(&self, hash: &PaymentHash) {
        crash_points::at(Point::BeforeClaimed);
        self.store.submit_patiently(MarkClaimed {
            payment_hash: hash.0,
        });
    }

    /// The subscribers of single invoices.
    pub(super) fn followers(&self) -> &Followers {
        &self.announcer.followers
    }

    /// Applies a change to the channels while no decision is in progress. Blocks are connected
    /// through this: they make LDK fail HTLCs back, which must not happen between the decision on a
    /// set and its last claim.
    pub fn between_decisions(&self, change: impl FnOnce()) {
        let _ledger = self.ledger();
        change();
    }

    /// Notifies subscribers once the rows with this ticket are on disk.
    pub(super) fn announce(&self, ticket: Ticket, event: InvoiceEvent) {
        if let InvoiceEvent::Added(view) = &event {
            let kind = format!("{:?}", view.record.kind);
            metrics::counter!("ampd_invoices_added_total", "kind" => kind).increment(1);
        }
        self.announcer.announce(ticket, event);
    }
}

/// The invoice as it was when added, without its payments.
pub(super) fn unpaid(record: InvoiceRecord) -> InvoiceView {
    // The preimage of a hold invoice is only known after it was settled.
    let preimage = match record.kind {
        InvoiceKind::Hold => None,
        _ => record.preimage,
    };
    let record = InvoiceRecord {
        preimage,
        state: InvoiceState::Open,
        settle_index: None,
        settled_at: None,
        amt_paid_msat: 0,
        ..record
    };
    InvoiceView {
        record,
        htlcs: Vec::new(),
        sets: Vec::new(),
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
