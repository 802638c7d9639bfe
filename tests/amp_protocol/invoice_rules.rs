//! The shards that an invoice accepts. All refusals look the same to the payer: PERM|15 with the HTLC's
//! amount and the current height.

use ampd::invoices::{Limits, NewInvoice};
use lightning::types::payment::PaymentHash;

use crate::scene::*;
use crate::sender::shards;

const NO_SPONTANEOUS: Limits = Limits {
    accept_amp: false,
    ..LIMITS
};

#[test]
fn invoice_is_found_by_payment_address_with_spontaneous_payments_disabled() {
    let scene = Scene::with(NO_SPONTANEOUS);
    let invoice = scene.receiver.add_amp_invoice(0);
    scene.assert_settles(&shards(set(1), addr(&invoice), &[60_000, 40_000]));
    let [paid] = &scene.receiver.invoices()[..] else {
        panic!("expected one invoice")
    };
    assert_eq!(paid.amt_paid_msat, 100_000);
}

#[test]
fn rejects_totals_below_the_value_or_zero() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let any_amount = scene.receiver.add_amp_invoice(0);
    let shard = |invoice| shards(set(1), addr(invoice), &[99_999]).remove(0);
    scene.assert_refused_and_not_stored(&shard(&invoice), "below the invoice's value");
    // The total in the record counts, not the HTLC's amount.
    let mismatched = shard(&invoice).amount(100_000);
    scene.assert_refused_and_not_stored(&mismatched, "total below the invoice's value");
    scene.assert_refused_and_not_stored(&shard(&any_amount).total(0), "zero");
    scene.assert_refused_and_not_stored(&shard(&invoice).total(0), "zero");
}

#[test]
fn rejects_expiries_below_the_invoices_delta() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    assert_eq!(invoice.terms.cltv_delta, 80);
    for blocks in [5, 18, 19, 40, 41, 79] {
        let shard = shards[0].clone().expiring_in(blocks);
        scene.assert_refused_and_not_stored(&shard, &format!("{blocks} blocks"));
    }
    scene.assert_settles(&[
        shards[0].clone().expiring_in(80),
        shards[1].clone().expiring_in(1_500),
    ]);
}

#[test]
fn rejects_amp_without_an_mpp_record() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let shard = shards(set(1), addr(&invoice), &[50_000]).remove(0);
    scene.assert_refused_and_not_stored(&shard.clone().without_mpp(), "no invoice");
    let by_hash = shard.without_mpp().with_hash(invoice.payment_hash);
    scene.assert_refused_and_not_stored(&by_hash, "with an invoice's hash");
}

/// The invoice's hash has no known preimage, so such a payment could not be claimed. It is rejected at once,
/// since the payment address is not one of LDK's payment secrets.
#[test]
fn amp_invoice_rejects_non_amp_payments() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(50_000);
    let to_its_hash = shards(set(1), addr(&invoice), &[50_000])
        .remove(0)
        .with_hash(invoice.payment_hash)
        .without_amp();
    let half = to_its_hash.clone().amount(25_000);
    // As lnd's EstimateRouteFee does.
    let probe = to_its_hash.clone().with_hash(PaymentHash([3; 32]));
    for regular in [&to_its_hash, &half, &probe] {
        let attempt = scene.send(regular);
        assert_eq!(scene.outcome(&attempt), scene.refusal(regular));
    }
    let without_address = to_its_hash.without_mpp();
    let attempt = scene.send(&without_address);
    assert_eq!(scene.outcome(&attempt), scene.refusal(&without_address));
    assert_eq!(scene.receiver.invoices()[0].amt_paid_msat, 0);
}

#[test]
fn regular_invoice_rejects_amp_payments() {
    let scene = Scene::new();
    let invoice = scene.receiver.add(NewInvoice {
        value_msat: 50_000,
        ..NewInvoice::default()
    });
    let shard = shards(set(1), addr(&invoice), &[50_000]).remove(0);
    scene.assert_refused_and_not_stored(&shard, "to its address");
    let with_its_hash = shard.with_hash(invoice.payment_hash);
    scene.assert_refused_and_not_stored(&with_its_hash, "to its address and hash");
}
