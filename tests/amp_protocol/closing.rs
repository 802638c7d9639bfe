//! Canceled, disabled and expired invoices. HTLCs held for them fail back at once with PERM|15, not with
//! `mpp_timeout`.

use ampd::model::invoice::{InvoiceRecord, InvoiceRef, InvoiceState};
use ampd::storage::Change;
use ldk_amp::PaymentAddr;
use rusqlite::Connection;

use crate::scene::*;
use crate::sender::{Outcome, shards};

const ADDR: PaymentAddr = PaymentAddr::from_bytes([7; 32]);

/// Changes an invoice's expiry directly in the database, since ampd has no call for it.
struct ExpiresAt {
    add_index: u64,
    /// Unix time in seconds.
    at: u64,
}

impl Change for ExpiresAt {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        let row = (self.at.cast_signed(), self.add_index.cast_signed());
        db.execute(
            "UPDATE invoices SET expires_at = ?1 WHERE add_index = ?2",
            row,
        )?;
        Ok(())
    }
}

/// Restarts the receiver with the invoice expired.
fn pass_expiry(scene: &mut Scene, invoice: &InvoiceRecord) {
    let expired = ExpiresAt {
        add_index: invoice.add_index,
        at: invoice.created_at - 1,
    };
    scene.receiver.restart_after(vec![Box::new(expired)]);
    scene.run();
}

fn by_addr(invoice: &InvoiceRecord) -> InvoiceRef {
    InvoiceRef::Addr(invoice.payment_addr)
}

#[test]
fn canceling_an_invoice_fails_held_shards_and_rejects_new_ones() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let halves = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let other_set = shards(set(2), addr(&invoice), &[70_000, 30_000]);
    let elsewhere = shards(set(3), ADDR, &[60_000, 40_000]);
    let attempts = [&halves, &other_set, &elsewhere].map(|shards| scene.send(&shards[0]));
    scene.receiver.cancel(&by_addr(&invoice));
    scene.run();
    assert_eq!(
        scene.outcomes(&attempts),
        [
            scene.refusal(&halves[0]),
            scene.refusal(&other_set[0]),
            Outcome::InFlight
        ]
    );
    assert_eq!(scene.stored_set(set(1)), canceled(1));
    assert_eq!(scene.stored_set(set(2)), canceled(1));
    for _ in 0..2 {
        scene.assert_refused_and_not_stored(&halves[1], "the other half");
        let new = shards(set(4), addr(&invoice), &[100_000]).remove(0);
        scene.assert_refused_and_not_stored(&new, "another payment");
        scene.restart();
    }
    assert_eq!(scene.receiver.invoices()[0].state, InvoiceState::Canceled);
}

/// lnd cannot cancel a paid AMP invoice and accepts payments to it forever.
#[test]
fn paid_invoice_can_be_canceled() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    scene.assert_settles(&shards(set(1), addr(&invoice), &[50_000]));
    scene.receiver.cancel(&by_addr(&invoice));
    let again = shards(set(2), addr(&invoice), &[50_000]).remove(0);
    scene.assert_refused_and_not_stored(&again, "canceled");
    assert_eq!(scene.stored_set(set(1)), settled(50_000, 1));
    assert_eq!(scene.receiver.invoices()[0].amt_paid_msat, 50_000);
}

#[test]
fn disabled_invoice_rejects_payments_until_enabled() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let first = scene.send(&shards[0]);
    scene.receiver.set_enabled(&by_addr(&invoice), false);
    scene.run();
    assert_eq!(scene.outcome(&first), scene.refusal(&shards[0]));
    for _ in 0..2 {
        scene.assert_refused_and_not_stored(&shards[1], "disabled");
        scene.restart();
    }
    scene.receiver.set_enabled(&by_addr(&invoice), true);
    scene.assert_settles(&shards);
}

/// lnd has no clock here: what was paid once is payable after its expiry.
#[test]
fn expired_invoice_rejects_payments_whether_paid_before_or_not() {
    let mut scene = Scene::new();
    let [paid, unpaid] = [0, 0].map(|value| scene.receiver.add_amp_invoice(value));
    scene.assert_settles(&shards(set(1), addr(&paid), &[50_000]));
    for invoice in [&paid, &unpaid] {
        pass_expiry(&mut scene, invoice);
        let shards = shards(set(2), addr(invoice), &[60_000, 40_000]);
        scene.assert_refused_and_not_stored(&shards[0], "half a set");
        scene.assert_refused_and_not_stored(&shards[0].clone().total(60_000), "a whole set");
    }
    assert_eq!(
        scene.receiver.invoices()[0].state,
        InvoiceState::Open,
        "expiry alone does not change the state"
    );
}

#[test]
fn expiring_invoice_fails_held_shards() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let halves = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let first = scene.send(&halves[0]);
    pass_expiry(&mut scene, &invoice);
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    scene
        .receiver
        .run_timers_until(|receiver| receiver.invoices()[0].state == InvoiceState::Canceled);
    scene.run();
    assert_eq!(scene.outcome(&first), scene.refusal(&halves[0]));
    assert_eq!(scene.stored_set(set(1)), canceled(1));
}

#[test]
fn incomplete_spontaneous_payment_is_deleted_after_expiry() {
    let mut scene = Scene::new();
    let lost = shards(set(1), ADDR, &[60_000, 40_000]);
    let first = scene.send(&lost[0]);
    scene.expire_sets_at(u64::MAX);
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
    let invoice = scene.receiver.invoices().remove(0);
    assert_eq!(invoice.expires_at, Some(invoice.created_at + 3_600));
    pass_expiry(&mut scene, &invoice);
    scene
        .receiver
        .run_timers_until(|receiver| receiver.invoices().is_empty());
    assert_eq!(scene.stored_set(set(1)), None);
    assert!(scene.receiver.htlcs(set(1)).is_empty());
    scene.assert_settles(&shards(set(1), ADDR, &[70_000, 30_000]));
}

/// The payer was never given an expiry.
#[test]
fn payment_address_of_a_paid_spontaneous_payment_does_not_expire() {
    let mut scene = Scene::new();
    scene.assert_settles(&shards(set(1), ADDR, &[60_000, 40_000]));
    assert_eq!(scene.receiver.invoices()[0].expires_at, None);
    scene.restart();
    scene.assert_settles(&shards(set(2), ADDR, &[100_000]));
}
