//! Which shards an invoice takes. All refusals look alike to the payer: PERM|15 with the HTLC's amount
//! and the current height.

use ampd::invoices::{Limits, NewInvoice};
use lightning::types::payment::PaymentHash;

use crate::scene::*;
use crate::sender::shards;

const NO_SPONTANEOUS: Limits = Limits {
    accept_amp: false,
    ..LIMITS
};

#[test]
fn an_invoice_is_found_by_its_address_alone_also_without_spontaneous_payments() {
    let scene = Scene::with(NO_SPONTANEOUS);
    let invoice = scene.receiver.add_amp_invoice(0);
    scene.assert_settles(&shards(set(1), addr(&invoice), &[60_000, 40_000]));
    let [paid] = &scene.receiver.invoices()[..] else {
        panic!("one invoice")
    };
    assert_eq!(paid.amt_paid_msat, 100_000);
}

#[test]
fn too_small_a_total_is_refused() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let any_amount = scene.receiver.add_amp_invoice(0);
    let shard = |invoice| shards(set(1), addr(invoice), &[99_999]).remove(0);
    scene.assert_refused_without_trace(&shard(&invoice), "below the invoice's value");
    // What the shard brings does not count.
    let lies = shard(&invoice).amount(100_000);
    scene.assert_refused_without_trace(&lies, "below the invoice's value, in word");
    scene.assert_refused_without_trace(&shard(&any_amount).total(0), "zero");
    scene.assert_refused_without_trace(&shard(&invoice).total(0), "zero");
}

#[test]
fn too_early_an_expiry_is_refused() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    assert_eq!(invoice.terms.cltv_delta, 80);
    for blocks in [5, 18, 19, 40, 41, 79] {
        let shard = shards[0].clone().expiring_in(blocks);
        scene.assert_refused_without_trace(&shard, &format!("{blocks} blocks"));
    }
    scene.assert_settles(&[
        shards[0].clone().expiring_in(80),
        shards[1].clone().expiring_in(1_500),
    ]);
}

#[test]
fn amp_without_a_payment_address_is_refused() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let shard = shards(set(1), addr(&invoice), &[50_000]).remove(0);
    scene.assert_refused_without_trace(&shard.clone().without_mpp(), "of no invoice");
    let by_hash = shard
        .without_mpp()
        .with_hash(PaymentHash(invoice.payment_hash));
    scene.assert_refused_without_trace(&by_hash, "with an invoice's hash");
}

/// The invoice's hash is the hash of nothing, so nobody could claim it. It is not even taken: the
/// address is no payment secret of LDK's.
#[test]
fn an_amp_invoice_is_not_paid_without_amp() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(50_000);
    let to_its_hash = shards(set(1), addr(&invoice), &[50_000])
        .remove(0)
        .with_hash(PaymentHash(invoice.payment_hash))
        .without_amp();
    let half = to_its_hash.clone().amount(25_000);
    // As lnd's EstimateRouteFee does.
    let probe = to_its_hash.clone().with_hash(PaymentHash([3; 32]));
    for ordinary in [&to_its_hash, &half, &probe] {
        let attempt = scene.send(ordinary);
        assert_eq!(scene.outcome(&attempt), scene.refusal(ordinary));
    }
    let without_address = to_its_hash.without_mpp();
    let attempt = scene.send(&without_address);
    assert_eq!(scene.outcome(&attempt), scene.refusal(&without_address));
    assert_eq!(scene.receiver.invoices()[0].amt_paid_msat, 0);
}

#[test]
fn an_ordinary_invoice_is_not_paid_with_amp() {
    let scene = Scene::new();
    let invoice = scene.receiver.add(NewInvoice {
        value_msat: 50_000,
        ..NewInvoice::default()
    });
    let shard = shards(set(1), addr(&invoice), &[50_000]).remove(0);
    scene.assert_refused_without_trace(&shard, "to its address");
    let with_its_hash = shard.with_hash(PaymentHash(invoice.payment_hash));
    scene.assert_refused_without_trace(&with_its_hash, "to its address and hash");
}
