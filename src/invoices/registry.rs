//! The door of the room: make and look up invoices, hear of events, keep the time.

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
use crash_points::Point;
use ldk_amp::SetLimits;
use crate::ldk::KeysManager;
use crate::storage::invoices::{
    InvoiceKind, InvoiceRecord, InvoiceState, InvoiceTerms, MarkClaimed, PutInvoice,
};
use crate::storage::{Health, StorageError, Store, Ticket};

/// What we take, and how much of it we hold for strangers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Take AMP payments that no invoice of ours asked for.
    pub accept_amp: bool,
    /// Take payments that no invoice of ours asked for and that bring their preimage.
    pub accept_keysend: bool,
    /// HTLCs of one set, and how long they are held.
    pub set: SetLimits,
    /// Incomplete sets at a time.
    pub max_open_sets: usize,
    /// HTLCs of incomplete sets on one channel, of the 483 that it can have.
    pub max_held_per_channel: usize,
    /// Blocks: what an invoice asks for if its maker says nothing.
    pub default_cltv_delta: u32,
}

/// All invoices of this node.
pub struct Registry {
    pub(super) store: Arc<Store>,
    pub(super) port: Arc<dyn ChannelPort>,
    pub(super) keys: Arc<KeysManager>,
    pub(super) limits: Limits,
    network: Network,
    ledger: Mutex<Ledger>,
    announcer: Announcer,
    /// A held HTLC is due earlier than the timer knows.
    pub(super) timer: Notify,
    /// An invoice expires earlier than the watcher knows.
    pub(super) expiry: Arc<Notify>,
}

impl Registry {
    /// Opens the room. Call [`Registry::restore`] before events flow.
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

    /// Makes an invoice. It is on disk when this returns.
    ///
    /// # Errors
    /// [`InvoiceError`], if the request makes no sense, the hash is taken, or nothing can be written.
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

    /// Makes sure that a new invoice may have this hash.
    ///
    /// AMP shards that nobody has completed give way to it: whoever knows a hash before it is used could
    /// else keep the owner from using it. One that was paid stays: its preimage is known to others, so
    /// an invoice with its hash would be theirs to settle.
    fn free_hash(&self, ledger: &mut Ledger, hash: &PaymentHash) -> Result<(), InvoiceError> {
        if let Some((set_id, key)) = ledger.open.find(hash) {
            self.give_back(ledger, &[(set_id, vec![key])], Refusal::Canceled);
        }
        let Some(other) = self.find_by_hash(ledger, &hash.0)? else {
            return Ok(());
        };
        if other.kind != InvoiceKind::SpontaneousAmp || other.expires_at.is_none() {
            return Err(InvoiceError::Duplicate);
        }
        self.give_back_all(ledger, other.add_index, Vec::new());
        self.delete_unpaid(ledger, other);
        Ok(())
    }

    /// Writes the texts of invoices.
    pub(super) fn signer(&self) -> Signer<'_> {
        Signer {
            keys: &self.keys,
            network: self.network,
        }
    }

    /// What kind of invoice it becomes, its payment hash, and its preimage if we know one.
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

    /// Events from now on, after those that were missed since the given indices (0: none).
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn subscribe(
        &self,
        add_index: u64,
        settle_index: u64,
    ) -> Result<Subscription, StorageError> {
        // First the live ones, so that nothing falls between; what comes twice is left out there.
        let live = self.announcer.subscribe();
        Subscription::new(self.store.clone(), live, add_index, settle_index)
    }

    /// `Event::PaymentClaimed`: LDK has done what was decided.
    pub fn payment_claimed(&self, hash: &PaymentHash) {
        crash_points::at(Point::BeforeClaimed);
        self.store.submit_patiently(MarkClaimed {
            payment_hash: hash.0,
        });
    }

    /// Those who follow one invoice.
    pub(super) fn followers(&self) -> &Followers {
        &self.announcer.followers
    }

    /// Does something to the channels while no decision is carried out. Blocks belong here: they make
    /// LDK give HTLCs back, and none may come between the decision on a set and its last claim.
    pub fn between_decisions(&self, change: impl FnOnce()) {
        let _ledger = self.ledger();
        change();
    }

    /// Tells subscribers once the rows with this ticket are on disk.
    pub(super) fn announce(&self, ticket: Ticket, event: InvoiceEvent) {
        if let InvoiceEvent::Added(view) = &event {
            let kind = format!("{:?}", view.record.kind);
            metrics::counter!("ampd_invoices_added_total", "kind" => kind).increment(1);
        }
        self.announcer.announce(ticket, event);
    }
}

/// A new invoice, without the history that it may have by now.
pub(super) fn unpaid(record: InvoiceRecord) -> InvoiceView {
    // Whoever makes a hold invoice tells the preimage later.
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
