//! Tests of accepting and refusing AMP shards.

mod interleaved;
mod limits;
mod order;

use lightning_types::payment::PaymentHash;

use super::spontaneous;
use crate::invoices::test_registry::*;
use crate::invoices::{InvoiceError, Limits, NewInvoice, Purpose};
use crate::model::htlc::HtlcState;
use crate::model::invoice::{InvoiceKind, InvoiceState};
use crate::storage::invoices::PutInvoice;
use ldk_amp::MppRecord;

#[tokio::test]
async fn holds_shards_until_the_set_is_complete() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 30, 10]);
    assert_eq!(fixture.arrive_all(&shards[..2]), []);
    assert_eq!(fixture.state(&shards[0]), Some(HtlcState::Accepted));
    let set = fixture.set(1).unwrap();
    assert_eq!((set.state, set.amt_paid_msat), (HtlcState::Accepted, 90));
    assert_eq!(fixture.invoices()[0].amt_paid_msat, 0);

    assert_eq!(fixture.arrive(&shards[2]), claims(&shards));
    let set = fixture.set(1).unwrap();
    assert_eq!((set.state, set.amt_paid_msat), (HtlcState::Settled, 100));
    assert_eq!(set.settle_index, Some(1));
    let [invoice] = &fixture.invoices()[..] else {
        panic!("one invoice")
    };
    assert_eq!(
        invoice.state,
        InvoiceState::Open,
        "an AMP invoice must stay open, as in lnd"
    );
    assert_eq!((invoice.value_msat, invoice.amt_paid_msat), (100, 100));
    assert_eq!(invoice.payment_hash, shards[0].hash());
    for shard in &shards {
        let key = shard.envelope.key();
        let row = fixture.store.htlc(&key).unwrap();
        let row = row.unwrap();
        assert_eq!(PaymentHash::from(row.preimage.unwrap()), shard.hash());
        assert_eq!(row.custom_records, shard.claimable.custom_records);
        assert!(!row.claimed);
    }
}

#[tokio::test]
async fn payment_address_can_be_paid_repeatedly() {
    let fixture = Fixture::new();
    for id in 1..=20 {
        let shards: Vec<_> = payment(id, &[50, 50])
            .into_iter()
            .map(|shard| shard.to(payment_addr(99)))
            .collect();
        assert_eq!(fixture.arrive_all(&shards), claims(&shards));
    }
    assert_eq!(fixture.invoices().len(), 1);
    assert_eq!(fixture.invoices()[0].amt_paid_msat, 2_000);
}

#[tokio::test]
async fn without_accept_amp_rejects_unknown_payment_addresses() {
    let limits = Limits {
        accept_amp: false,
        ..LIMITS
    };
    let fixture = Fixture::with(limits);
    let shards = payment(1, &[100]);
    assert_eq!(fixture.arrive_all(&shards), fails(&shards));
    assert!(fixture.invoices().is_empty());
    assert_eq!(fixture.set(1), None);
}

/// Each rule that concerns a single shard.
#[tokio::test]
async fn rejects_invalid_shards_without_storing_them() {
    let good = || payment(1, &[60, 40]).remove(0);
    let mut without_mpp = good();
    without_mpp.envelope.mpp = None;
    let mut zero_set = good();
    zero_set.envelope.amp.set_id = set_id(0);
    let cases = [
        ("no MPP record", without_mpp),
        ("total zero", good().total(0)),
        (
            "expires in less than 19 blocks",
            good().expiring(HEIGHT + 18),
        ),
        ("set id zero", zero_set),
    ];
    for (case, shard) in cases {
        let fixture = Fixture::new();
        assert_eq!(fixture.arrive(&shard), fails([&shard]), "{case}");
        assert_eq!(fixture.state(&shard), None, "{case}");
        assert!(fixture.invoices().is_empty(), "{case}");
        let again = payment(2, &[10]);
        assert_eq!(fixture.arrive_all(&again), claims(&again), "{case}");
    }
    let fixture = Fixture::new();
    let just_enough = good().expiring(HEIGHT + 41);
    assert_eq!(fixture.arrive(&just_enough), []);
}

#[tokio::test]
async fn rejects_sets_too_close_to_their_claim_deadline() {
    let fixture = Fixture::new();
    let mut shards = payment(1, &[60, 40]);
    shards[1] = shards[1].clone().expiring(HEIGHT + 40);
    assert_eq!(fixture.arrive(&shards[0]), []);
    let mut failed = fixture.arrive(&shards[1]);
    failed.sort_by_key(|answer| *answer != Answer::Fail(shards[0].hash()));
    assert_eq!(failed, fails(&shards));
}

#[tokio::test]
async fn rejects_underpayment_and_accepts_overpayment() {
    let fixture = Fixture::new();
    fixture.arrive_all(&payment(1, &[100]));
    let less = payment(2, &[99]).remove(0).to(payment_addr(1));
    assert_eq!(fixture.arrive(&less), fails([&less]));
    let more = payment(3, &[101]).remove(0).to(payment_addr(1));
    assert_eq!(fixture.arrive(&more), claims([&more]));
    assert_eq!(fixture.invoices()[0].amt_paid_msat, 201);
}

#[tokio::test]
async fn total_mismatch_fails_only_the_new_shard() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    let other = shards[1].clone().total(101);
    assert_eq!(fixture.arrive(&other), fails([&other]));
    assert_eq!(fixture.state(&shards[0]), Some(HtlcState::Accepted));
    let right = payment(1, &[60, 40]).remove(1);
    assert_eq!(fixture.arrive(&right), claims(&shards));
}

#[tokio::test]
async fn enforces_the_invoice_cltv_delta() {
    let fixture = Fixture::new();
    let mut invoice = spontaneous::invoice(&mpp(9, 0), PaymentHash([9; 32]));
    invoice.add_index = 1;
    invoice.terms.cltv_delta = 80;
    fixture.store.submit(PutInvoice(invoice));
    let fixture = fixture.restart();
    let early = payment(1, &[10]).remove(0).to(payment_addr(9));
    let late = early.clone().expiring(HEIGHT + 79);
    assert_eq!(fixture.arrive(&late), fails([&late]));
    let early = early.expiring(HEIGHT + 80);
    assert_eq!(fixture.arrive(&early), claims([&early]));
}

fn mpp(addr: u8, total_msat: u64) -> MppRecord {
    MppRecord {
        payment_addr: payment_addr(addr),
        total_msat,
    }
}

#[tokio::test]
async fn canceled_invoices_reject_payments() {
    let fixture = Fixture::new();
    let mut invoice = spontaneous::invoice(&mpp(1, 0), PaymentHash([9; 32]));
    (invoice.add_index, invoice.state) = (1, InvoiceState::Canceled);
    fixture.store.submit(PutInvoice(invoice));
    let fixture = fixture.restart();
    let shards = payment(1, &[10]);
    assert_eq!(fixture.arrive_all(&shards), fails(&shards));
}

#[tokio::test]
async fn rejects_a_set_id_used_by_another_invoice() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    let elsewhere = shards[1].clone().to(payment_addr(2));
    assert_eq!(fixture.arrive(&elsewhere), fails([&elsewhere]));
    assert_eq!(fixture.invoices().len(), 1);
    // Applies also once it is settled, and after a restart.
    assert_eq!(fixture.arrive(&shards[1]), claims(&shards));
    fixture.arrive_all(&payment(3, &[5]));
    let fixture = fixture.restart();
    fixture.port.answers();
    let again = payment(1, &[1, 1, 1]).remove(2).total(200);
    for addr in [2, 3] {
        let elsewhere = again.clone().to(payment_addr(addr));
        assert_eq!(fixture.arrive(&elsewhere), fails([&elsewhere]));
    }
}

#[tokio::test]
async fn settled_sets_reject_further_shards() {
    let mut fixture = Fixture::new();
    let shards = payment(1, &[100]);
    fixture.arrive_all(&shards);
    let extra = payment(1, &[50, 25, 25]).remove(2).total(100);
    for _ in 0..2 {
        assert_eq!(fixture.arrive(&extra), fails([&extra]));
        assert_eq!(fixture.set(1).unwrap().amt_paid_msat, 100);
        fixture = fixture.restart();
        fixture.port.answers();
    }
}

#[tokio::test]
async fn invalid_share_fails_only_its_set() {
    let fixture = Fixture::new();
    let to = |shards: Vec<Sent>| -> Vec<Sent> {
        shards
            .into_iter()
            .map(|shard| shard.to(payment_addr(9)))
            .collect()
    };
    let (bad, good) = (to(payment(1, &[60, 40])), to(payment(2, &[70, 30])));
    fixture.arrive(&bad[0]);
    fixture.arrive(&good[0]);
    let wrong = bad[1].clone().with_wrong_share();
    let mut failed = fixture.arrive(&wrong);
    failed.sort_by_key(|answer| *answer != Answer::Fail(bad[0].hash()));
    assert_eq!(failed, fails(&bad));
    assert_eq!(fixture.state(&bad[0]), Some(HtlcState::Canceled));
    assert_eq!(fixture.set(1).unwrap().state, HtlcState::Canceled);
    assert_eq!(fixture.arrive(&good[1]), claims(&good));
    assert_eq!(fixture.invoices()[0].state, InvoiceState::Open);
}

/// An honest hash is random, but an AMP invoice created for a spontaneous payment has the hash of
/// its first shard, and a sender may send that same shard again after a timeout.
#[tokio::test]
async fn accepts_shards_with_the_hash_of_an_amp_invoice() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    fixture.registry.expire_sets(u64::MAX);
    fixture.port.answers();
    let mut again = shards.clone();
    for shard in &mut again {
        shard.envelope.htlc_id += 100;
    }
    assert_eq!(fixture.arrive_all(&again), claims(&again));
    // The hash must not be used for a second invoice.
    let mut elsewhere = payment(2, &[100]).remove(0);
    elsewhere.claimable.payment_hash = shards[0].hash();
    assert_eq!(fixture.arrive(&elsewhere), fails([&elsewhere]));
    assert_eq!(fixture.invoices().len(), 1);
}

#[tokio::test]
async fn unpaid_shards_leave_no_message() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    fixture.registry.expire_sets(u64::MAX);
    fixture.store.flush();
    let key = shards[0].envelope.key();
    let row = fixture.store.htlc(&key).unwrap();
    assert!(row.unwrap().custom_records.is_empty());
}

#[tokio::test]
async fn rejects_amp_shards_with_the_hash_of_a_bolt11_invoice() {
    let fixture = Fixture::new();
    let invoice = fixture.registry.add(NewInvoice::default()).await.unwrap();
    let mut shard = payment(1, &[100]).remove(0);
    shard.claimable.payment_hash = invoice.payment_hash;
    assert_eq!(fixture.arrive(&shard), fails([&shard]));
}

#[tokio::test]
async fn rejects_amp_shards_to_bolt11_invoices() {
    let fixture = Fixture::new();
    let invoice = fixture.registry.add(NewInvoice::default()).await.unwrap();
    let shard = payment(1, &[100]).remove(0).to(invoice.payment_addr);
    assert_eq!(fixture.arrive(&shard), fails([&shard]));
}

#[tokio::test]
async fn replayed_htlcs_stay_held_with_their_original_time() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    let due = fixture.registry.expire_sets(0).unwrap();
    assert_eq!(fixture.arrive(&shards[0]), []);
    assert_eq!(
        fixture.set(1).unwrap().amt_paid_msat,
        60,
        "must be counted once"
    );
    assert_eq!(fixture.registry.expire_sets(0), Some(due));
    assert_eq!(fixture.arrive(&shards[1]), claims(&shards));
}

#[tokio::test]
async fn replays_get_the_same_answer() {
    let fixture = Fixture::new();
    let settled = payment(1, &[60, 40]);
    fixture.arrive_all(&settled);
    let canceled = payment(2, &[60, 40]).remove(0);
    fixture.arrive(&canceled);
    fixture.registry.expire_sets(u64::MAX);
    let mut fixture = fixture;
    for _ in 0..2 {
        fixture.store.flush();
        fixture.port.answers();
        assert_eq!(fixture.arrive(&settled[1]), claims(&settled[1..]));
        assert_eq!(fixture.arrive(&canceled), fails([&canceled]));
        fixture = fixture.restart();
    }
}

#[tokio::test]
async fn htlcs_failed_by_ldk_leave_their_set() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    let late = shards[0].clone().expiring(HEIGHT + 45);
    fixture.arrive(&late);
    fixture.registry.htlc_gone(&late.hash());
    assert_eq!(fixture.port.answers(), fails([&late]));
    assert_eq!(fixture.state(&late), Some(HtlcState::Canceled));
    assert_eq!(fixture.registry.expire_sets(u64::MAX), None);
    fixture.registry.htlc_gone(&PaymentHash([3; 32]));
    assert_eq!(fixture.port.answers(), []);
}

/// LDK fails it, and reports only its hash.
#[tokio::test]
async fn second_htlc_with_a_held_hash_does_not_affect_the_first() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    fixture.registry.htlc_gone(&shards[0].hash());
    assert_eq!(fixture.port.answers(), []);
    assert_eq!(fixture.state(&shards[0]), Some(HtlcState::Accepted));
    assert_eq!(fixture.arrive(&shards[1]), claims(&shards));
}

#[tokio::test]
async fn disabling_spontaneous_payments_applies_to_known_payers() {
    let fixture = Fixture::new();
    let paid = payment(1, &[100]);
    assert_eq!(fixture.arrive_all(&paid), claims(&paid));
    let off = Limits {
        accept_amp: false,
        ..LIMITS
    };
    let fixture = fixture.restart_with(off);
    fixture.port.answers();
    let again = payment(2, &[100]).remove(0).to(payment_addr(1));
    assert_eq!(fixture.arrive(&again), fails([&again]));
    // What was settled before is still claimed again.
    assert_eq!(fixture.arrive(&paid[0]), claims(&paid));
}

/// Someone who learns the hash of a future invoice must not be able to block it.
#[tokio::test]
async fn new_invoices_can_use_the_hash_of_an_incomplete_shard() {
    let fixture = Fixture::new();
    let asked = fixture
        .registry
        .add(NewInvoice {
            purpose: Purpose::Amp,
            ..NewInvoice::default()
        })
        .await
        .unwrap();
    let spontaneous = payment(1, &[60, 40]).remove(0);
    let of_static = payment(2, &[60, 40]).remove(0).to(asked.payment_addr);
    let timed_out = payment(3, &[60, 40]).remove(0);
    fixture.arrive(&timed_out);
    fixture.registry.expire_sets(u64::MAX);
    fixture.port.answers();
    for shard in [&spontaneous, &of_static] {
        assert_eq!(fixture.arrive(shard), []);
    }
    for shard in [&spontaneous, &of_static, &timed_out] {
        let hold = NewInvoice {
            purpose: Purpose::Hold { hash: shard.hash() },
            ..NewInvoice::default()
        };
        fixture.registry.add(hold).await.unwrap();
        fixture.port.answers();
        let mut late = shard.clone();
        late.envelope.htlc_id += 1_000;
        assert_eq!(
            fixture.arrive(&late),
            fails([&late]),
            "the hash must belong to the invoice"
        );
    }
    let kinds: Vec<_> = fixture
        .invoices()
        .iter()
        .map(|invoice| invoice.kind)
        .collect();
    use InvoiceKind::{Amp, Hold};
    assert_eq!(kinds, [Amp, Hold, Hold, Hold]);
}

/// Its preimage is known to others.
#[tokio::test]
async fn new_invoices_cannot_use_the_hash_of_a_paid_shard() {
    let fixture = Fixture::new();
    let paid = payment(1, &[100]).remove(0);
    fixture.arrive(&paid);
    let hold = NewInvoice {
        purpose: Purpose::Hold { hash: paid.hash() },
        ..NewInvoice::default()
    };
    let refused = fixture.registry.add(hold).await;
    assert!(matches!(refused, Err(InvoiceError::Duplicate)));
}
