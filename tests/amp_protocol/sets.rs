//! How shards make a payment.

use ldk_amp::{PaymentAddr, SetId, Share};
use ampd::invoices::{InvoiceRef, InvoiceView};
use ampd::storage::invoices::{HtlcState, InvoiceState};
use lightning::types::payment::{PaymentHash, PaymentPreimage};

use crate::scene::*;
use crate::sender::{Outcome, Payment, Shard, shards};

#[test]
fn half_a_set_is_held_and_the_other_half_settles_both() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let first = scene.send(&shards[0]);
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    assert_eq!(scene.books(set(1)), held(60_000, 1));

    let second = scene.send(&shards[1]);
    assert_eq!(scene.outcomes(&[first, second]), [Outcome::Settled; 2]);
    assert_eq!(scene.books(set(1)), settled(100_000, 2));
    for (htlc, shard) in scene.receiver.htlcs(set(1)).iter().zip(&shards) {
        let own = PaymentPreimage(htlc.preimage.unwrap());
        assert_eq!(PaymentHash::from(own), shard.hash);
        assert!(htlc.claimed, "LDK says so");
    }
    let [invoice] = &scene.receiver.invoices()[..] else {
        panic!("one invoice")
    };
    assert_eq!(invoice.state, InvoiceState::Open, "to be paid again");
    assert_eq!(invoice.amt_paid_msat, 100_000);
}

#[test]
fn one_shard_with_the_root_for_its_share_settles() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let shards = shards(set(1), addr(&invoice), &[50_000]);
    assert_eq!(shards[0].amp.as_ref().unwrap().child_index, 0);
    scene.assert_settles(&shards);
}

#[test]
fn any_child_index_settles() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let mut payment = Payment::new(set(1), addr(&invoice), 30_000);
    let indices = [0, 1 << 24, u32::MAX];
    scene.assert_settles(&indices.map(|index| {
        let last = index == u32::MAX;
        payment.shard_with_index(10_000, last, index)
    }));
}

#[test]
fn forty_shards_settle() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    scene.assert_settles(&shards(set(1), addr(&invoice), &[2_500; 40]));
    assert_eq!(scene.books(set(1)), settled(100_000, 40));
}

#[test]
fn twenty_interleaved_sets_on_one_invoice_settle_each_with_an_index_of_its_own() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(10_000);
    let payments: Vec<Vec<Shard>> = (1..=20)
        .map(|n| shards(set(n), addr(&invoice), &[6_000, 4_000]))
        .collect();
    for half in 0..2 {
        for payment in &payments {
            scene.send(&payment[half]);
        }
    }
    for n in 1..=20 {
        assert_eq!(scene.books(set(n)), settled(10_000, 2));
        let index = scene.receiver.set(set(n)).unwrap().settle_index;
        assert_eq!(index, Some(n.into()));
    }
    assert_eq!(scene.receiver.invoices()[0].amt_paid_msat, 200_000);
}

/// lnd's SubscribeSingleInvoice tells nothing of them.
#[test]
fn who_follows_one_invoice_hears_of_each_set() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let mut changes = scene
        .receiver
        .follow(&InvoiceRef::Hash(invoice.payment_hash));
    let sets = |view: InvoiceView| -> Vec<_> { view.sets.iter().map(|set| set.set_id).collect() };
    let first = scene.receiver.next_change(&mut changes);
    assert!(sets(first).is_empty());
    for n in 1..=2 {
        scene.assert_settles(&shards(set(n), addr(&invoice), &[6_000, 4_000]));
        let change = scene.receiver.next_change(&mut changes);
        assert_eq!(change.record.amt_paid_msat, 10_000 * u64::from(n));
        assert_eq!(sets(change), [set(n).to_bytes()]);
    }
}

#[test]
fn two_payers_pay_one_set() {
    let scene = Scene::with_two_payers();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[50_000, 50_000]);
    let attempts = [
        scene.send_from(0, &shards[0]),
        scene.send_from(1, &shards[1]),
    ];
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
    assert_eq!(scene.books(set(1)), settled(100_000, 2));
}

#[test]
fn more_than_was_asked_for_or_announced_settles() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(10_000);
    // A total above the invoice's value, even far above.
    scene.assert_settles(&shards(set(1), addr(&invoice), &[30_000, 20_000]));
    // Shards that sum above the total.
    let generous = |shard: Shard| shard.total(10_000);
    let sent: Vec<_> = shards(set(2), addr(&invoice), &[9_000, 9_000])
        .into_iter()
        .map(generous)
        .collect();
    scene.assert_settles(&sent);
    assert_eq!(scene.books(set(2)), settled(18_000, 2));
    assert_eq!(scene.receiver.invoices()[0].amt_paid_msat, 68_000);
}

#[test]
fn a_shard_with_another_total_fails_alone() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let first = scene.send(&shards[0]);
    for total_msat in [100_001, 150_000] {
        let other = shards[1].clone().total(total_msat);
        let refused = scene.send(&other);
        assert_eq!(scene.outcome(&refused), scene.refusal(&other));
    }
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    assert_eq!(scene.books(set(1)), held(60_000, 1));
}

#[test]
fn a_set_id_of_zeros_is_refused() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let zero = SetId::from_bytes([0; 32]);
    for amounts in [&[10_000][..], &[6_000, 4_000]] {
        let shard = shards(zero, addr(&invoice), amounts).remove(0);
        scene.assert_refused_without_trace(&shard, "to an invoice");
        let shard = shards(zero, PaymentAddr::from_bytes([7; 32]), amounts).remove(0);
        scene.assert_refused_without_trace(&shard, "spontaneous");
    }
}

#[test]
fn a_set_id_belongs_to_one_invoice() {
    let scene = Scene::new();
    let [ours, other] = [0, 0].map(|value| scene.receiver.add_amp_invoice(value));
    let [half, rest] = &shards(set(1), addr(&ours), &[60_000, 40_000])[..] else {
        panic!("two shards")
    };
    let elsewhere = shards(set(1), addr(&other), &[50_000]).remove(0);
    let spontaneous = shards(set(1), PaymentAddr::from_bytes([7; 32]), &[50_000]).remove(0);
    scene.send(half);
    scene.assert_refused_without_trace(&elsewhere, "while the set is held");
    scene.assert_refused_without_trace(&spontaneous, "while the set is held");
    scene.send(rest);
    assert_eq!(scene.books(set(1)), settled(100_000, 2));
    scene.assert_refused_without_trace(&elsewhere, "once it is settled");
    scene.assert_refused_without_trace(&spontaneous, "once it is settled");
}

#[test]
fn a_settled_set_takes_no_further_shard() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let mut payment = Payment::new(set(1), addr(&invoice), 50_000);
    scene.assert_settles(&[payment.shard(50_000, true)]);
    let more = shards(set(1), addr(&invoice), &[20_000, 30_000]);
    for shard in &more {
        scene.assert_refused_without_trace(shard, "right after it");
    }
    scene.restart();
    scene.assert_refused_without_trace(&more[0], "after a restart");
    assert_eq!(scene.books(set(1)), settled(50_000, 1));
}

#[test]
fn a_wrong_share_fails_its_set_and_the_invoice_stays_payable() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let wrong = shards[1].clone().with_wrong_share();
    let attempts = [scene.send(&shards[0]), scene.send(&wrong)];
    assert_eq!(
        scene.outcomes(&attempts),
        [scene.refusal(&shards[0]), scene.refusal(&wrong)]
    );
    assert_eq!(
        scene.books(set(1)),
        canceled(1),
        "the wrong one is not stored"
    );
    assert_eq!(scene.receiver.invoices()[0].state, InvoiceState::Open);
    // The very set may be tried again, and any other.
    scene.assert_settles(&shards);
    scene.assert_settles(&self::shards(set(2), addr(&invoice), &[100_000]));
}

/// The data is LDK's: the height of the refusal, also for a shard that was held since an earlier one.
/// lnd gives the height at which it accepted the shard; no sender is known to care.
#[test]
fn a_refusal_names_the_height_at_which_it_is_made() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let first = scene.send(&shards[0]);
    let accepted_at = scene.network.height();
    scene.mine(3);
    let second = scene.send(&shards[1].clone().with_wrong_share());
    let height = accepted_at + 3;
    let refused = |shard: &Shard| Outcome::Refused {
        amount_msat: shard.amount_msat,
        height,
    };
    assert_eq!(
        scene.outcomes(&[first, second]),
        [refused(&shards[0]), refused(&shards[1])]
    );
    let row = scene.receiver.htlcs(set(1)).remove(0);
    assert_eq!(row.accept_height, accepted_at, "what callers see");
}

/// In lnd 0.21.2 this cancels the invoice, and the other set's shard stays held until the channel
/// is closed by force.
#[test]
fn a_wrong_share_does_no_harm_to_another_set_on_the_invoice() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let good = shards(set(1), addr(&invoice), &[70_000, 30_000]);
    let bad = shards(set(2), addr(&invoice), &[50_000, 30_000, 20_000]);
    let wrong = bad[2].clone().with_share(Share::ZERO);
    let first_good = scene.send(&good[0]);
    let failed = [scene.send(&bad[0]), scene.send(&bad[1]), scene.send(&wrong)];
    assert_eq!(
        scene.outcomes(&failed),
        [&bad[0], &bad[1], &wrong].map(|shard| scene.refusal(shard))
    );
    assert_eq!(scene.outcome(&first_good), Outcome::InFlight);

    let second_good = scene.send(&good[1]);
    assert_eq!(
        scene.outcomes(&[first_good, second_good]),
        [Outcome::Settled; 2]
    );
    assert_eq!(scene.books(set(1)), settled(100_000, 2));
    assert_eq!(scene.books(set(2)), canceled(2));
    scene.assert_settles(&shards(set(3), addr(&invoice), &[60_000, 40_000]));
    let invoice = scene.receiver.invoices().remove(0);
    assert_eq!(invoice.state, InvoiceState::Open);
    assert_eq!(invoice.amt_paid_msat, 200_000);
}

/// Claiming the others only would not be atomic. LDK gives a shard back 39 blocks before it expires.
#[test]
fn a_set_of_which_one_shard_is_about_to_be_given_back_is_refused_whole() {
    for (blocks, is_in_time) in [(4, true), (5, false)] {
        let scene = Scene::new();
        let mut shards = shards(set(1), PaymentAddr::from_bytes([7; 32]), &[60_000, 40_000]);
        shards[0] = shards[0].clone().expiring_in(39 + 6);
        let first = scene.send(&shards[0]);
        scene.mine(blocks);
        assert_eq!(scene.outcome(&first), Outcome::InFlight);
        let second = scene.send(&shards[1]);
        let outcomes = scene.outcomes(&[first, second]);
        match is_in_time {
            true => assert_eq!(outcomes, [Outcome::Settled; 2]),
            false => assert_eq!(
                outcomes,
                [scene.refusal(&shards[0]), scene.refusal(&shards[1])]
            ),
        }
    }
}

#[test]
fn a_shard_that_ldk_gives_back_near_its_expiry_leaves_its_set() {
    let scene = Scene::new();
    let shards = shards(set(1), PaymentAddr::from_bytes([7; 32]), &[60_000, 40_000]);
    let first = scene.send(&shards[0].clone().expiring_in(45));
    scene.mine(6);
    assert_eq!(scene.outcome(&first), scene.refusal(&shards[0]));
    assert_eq!(scene.books(set(1)), canceled(1));
    let second = scene.send(&shards[1]);
    assert_eq!(
        scene.outcome(&second),
        Outcome::InFlight,
        "alone it is not complete"
    );
    let books = scene.books(set(1)).unwrap();
    assert_eq!(books.htlcs, [HtlcState::Canceled, HtlcState::Accepted]);
    assert_eq!(books.amt_paid_msat, 40_000);
}
