//! Adding invoices.

use ldk_amp::PaymentAddr;
use lightning::sign::EntropySource;
use lightning_types::payment::{PaymentHash, PaymentPreimage, PaymentSecret};

use super::InvoiceError;
use super::amp_refusal::Refusal;
use super::cancel::{delete_unpaid, fail_back_all};
use super::create::{NewInvoice, Purpose};
use super::decision::Decision;
use super::fail_back::fail_back;
use super::registry::Registry;
use super::state::State;
use crate::clock::unix_seconds;
use crate::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceState, InvoiceTerms};
use crate::storage::{Health, Ticket};

impl Registry {
    /// Adds an invoice. It is on disk when this returns.
    ///
    /// # Errors
    /// [`InvoiceError`] if the request is invalid, the hash is in use, or the database is not
    /// writable.
    pub async fn add(&self, new: NewInvoice) -> Result<InvoiceRecord, InvoiceError> {
        let (record, ticket) = self.add_now(self.hinted(new))?;
        self.store.durable(ticket).await;
        Ok(record)
    }

    /// Returns the request with our route hints, if it asks for them.
    fn hinted(&self, mut new: NewInvoice) -> NewInvoice {
        if new.private {
            let ours = (self.own_hints)(new.value_msat, &new.route_hints);
            new.route_hints.extend(ours);
        }
        new
    }

    fn add_now(&self, new: NewInvoice) -> Result<(InvoiceRecord, Ticket), InvoiceError> {
        let checked = new.check(self.limits.default_cltv_delta)?;
        if let Health::Failing(why) = &*self.store.health().borrow() {
            return Err(InvoiceError::NotWriting(why.clone()));
        }
        let (kind, hash, preimage) = self.identity(new.purpose);
        let now = unix_seconds();
        let signer = self.signer();
        let secret = match kind {
            InvoiceKind::Amp => PaymentSecret(self.keys.get_secure_random_bytes()),
            _ => signer.payment_secret(&new, &checked, hash, now)?,
        };
        let payment_request = signer.request(&new, &checked, hash, secret, now)?;
        let mut state = self.state();
        let freed = self.free_hash(&mut state, &hash)?;
        let record = InvoiceRecord {
            add_index: state.next_add_index(),
            kind,
            payment_hash: hash,
            payment_addr: PaymentAddr::from_bytes(secret.0),
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
        let added = freed.and_new_invoice(record.clone()).urgently();
        let ticket = self.carry_out(&mut state, added);
        Ok((record, ticket))
    }

    /// Ensures that a new invoice can use this hash.
    ///
    /// Shards of an incomplete spontaneous AMP payment are failed back: otherwise anyone who learns
    /// the hash in advance could block it. A completed one keeps the hash: its preimage is known to
    /// others, who could settle a new invoice with that hash.
    fn free_hash(&self, state: &mut State, hash: &PaymentHash) -> Result<Decision, InvoiceError> {
        if let Some((set_id, key)) = state.open.find(hash) {
            let failed = fail_back(state, &[(set_id, vec![key])], Refusal::Canceled);
            self.carry_out(state, failed);
        }
        let Some(other) = self.find_by_hash(state, hash)? else {
            return Ok(Decision::default());
        };
        if other.kind != InvoiceKind::SpontaneousAmp || other.expires_at.is_none() {
            return Err(InvoiceError::Duplicate);
        }
        let (failed, _) = fail_back_all(state, other.add_index);
        Ok(failed.and(delete_unpaid(other)))
    }

    /// The invoice kind, the payment hash, and the preimage if it is known.
    fn identity(&self, purpose: Purpose) -> (InvoiceKind, PaymentHash, Option<PaymentPreimage>) {
        match purpose {
            Purpose::Once { preimage } => {
                let random = || PaymentPreimage(self.keys.get_secure_random_bytes());
                let preimage = preimage.unwrap_or_else(random);
                (InvoiceKind::Bolt11, preimage.into(), Some(preimage))
            }
            Purpose::Hold { hash } => (InvoiceKind::Hold, hash, None),
            Purpose::Amp => {
                let name = self.keys.get_secure_random_bytes();
                (InvoiceKind::Amp, PaymentHash(name), None)
            }
        }
    }
}
