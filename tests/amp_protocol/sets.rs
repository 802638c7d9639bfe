//! How shards form sets and sets settle.

use ampd::invoices::InvoiceView;
use ampd::model::htlc::HtlcState;
use ampd::model::invoice::{InvoiceRef, InvoiceState};
use ldk_amp::{PaymentAddr, SetId, Share};
use lightning::types::payment::PaymentHash;

use crate::scene::*;
use crate::sender::{Outcome, Payment, Shard, shards};

#[test]
fn first_shard_is_held_until_the_second_settles_both() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let first = scene.send(&shards[0]);
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    assert_eq!(scene.stored_set(set(1)), held(60_000, 1));

    let second = scene.send(&shards[1]);
    assert_eq!(scene.outcomes(&[first, second]), [Outcome::Settled; 2]);
    assert_eq!(scene.stored_set(set(1)), settled(100_000, 2));
    for (htlc, shard) in scene.receiver.htlcs(set(1)).iter().zip(&shards) {
        let own = htlc.preimage.unwrap();
        assert_eq!(PaymentHash::from(own), shard.hash);
        assert!(htlc.claimed, "LDK has claimed it");
    }
    let [invoice] = &scene.receiver.invoices()[..] else {
        panic!("expected one invoice")
    };
    assert_eq!(invoice.state, InvoiceState::Open, "can be paid again");
    assert_eq!(invoice.amt_paid_msat, 100_000);
}

#[test]
fn single_shard_with_the_root_as_share_settles() {
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
    assert_eq!(scene.stored_set(set(1)), settled(100_000, 40));
}

#[test]
fn interleaved_sets_on_one_invoice_settle_with_their_own_settle_index() {
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
        assert_eq!(scene.stored_set(set(n)), settled(10_000, 2));
        let index = scene.receiver.set(set(n)).unwrap().settle_index;
        assert_eq!(index, Some(n.into()));
    }
    assert_eq!(scene.receiver.invoices()[0].amt_paid_msat, 200_000);
}

/// lnd's SubscribeSingleInvoice does not report AMP sets.
#[test]
fn single_invoice_subscriber_sees_every_settled_set() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let mut changes = scene
        .receiver
        .subscribe_single(&InvoiceRef::Hash(invoice.payment_hash));
    let sets = |view: InvoiceView| -> Vec<_> { view.sets.iter().map(|set| set.set_id).collect() };
    let first = scene.receiver.next_change(&mut changes);
    assert!(sets(first).is_empty());
    for n in 1..=2 {
        scene.assert_settles(&shards(set(n), addr(&invoice), &[6_000, 4_000]));
        let change = scene.receiver.next_change(&mut changes);
        assert_eq!(change.record.amt_paid_msat, 10_000 * u64::from(n));
        assert_eq!(sets(change), [set(n)]);
    }
}

#[test]
fn two_payers_can_complete_one_set() {
    let scene = Scene::with_two_payers();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[50_000, 50_000]);
    let attempts = [
        scene.send_from(0, &shards[0]),
        scene.send_from(1, &shards[1]),
    ];
    assert_eq!(scene.outcomes(&attempts), [Outcome::Settled; 2]);
    assert_eq!(scene.stored_set(set(1)), settled(100_000, 2));
}

#[test]
fn overpaid_sets_settle() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(10_000);
    // A total above the invoice's value, even far above.
    scene.assert_settles(&shards(set(1), addr(&invoice), &[30_000, 20_000]));
    // Shards whose sum exceeds the total.
    let generous = |shard: Shard| shard.total(10_000);
    let sent: Vec<_> = shards(set(2), addr(&invoice), &[9_000, 9_000])
        .into_iter()
        .map(generous)
        .collect();
    scene.assert_settles(&sent);
    assert_eq!(scene.stored_set(set(2)), settled(18_000, 2));
    assert_eq!(scene.receiver.invoices()[0].amt_paid_msat, 68_000);
}

#[test]
fn shard_with_another_total_fails_alone() {
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
    assert_eq!(scene.stored_set(set(1)), held(60_000, 1));
}

#[test]
fn rejects_an_all_zero_set_id() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let zero = SetId::from_bytes([0; 32]);
    for amounts in [&[10_000][..], &[6_000, 4_000]] {
        let shard = shards(zero, addr(&invoice), amounts).remove(0);
        scene.assert_refused_and_not_stored(&shard, "to an invoice");
        let shard = shards(zero, PaymentAddr::from_bytes([7; 32]), amounts).remove(0);
        scene.assert_refused_and_not_stored(&shard, "spontaneous");
    }
}

#[test]
fn set_id_is_bound_to_one_invoice() {
    let scene = Scene::new();
    let [ours, other] = [0, 0].map(|value| scene.receiver.add_amp_invoice(value));
    let [half, rest] = &shards(set(1), addr(&ours), &[60_000, 40_000])[..] else {
        panic!("expected two shards")
    };
    let elsewhere = shards(set(1), addr(&other), &[50_000]).remove(0);
    let spontaneous = shards(set(1), PaymentAddr::from_bytes([7; 32]), &[50_000]).remove(0);
    scene.send(half);
    scene.assert_refused_and_not_stored(&elsewhere, "while the set is held");
    scene.assert_refused_and_not_stored(&spontaneous, "while the set is held");
    scene.send(rest);
    assert_eq!(scene.stored_set(set(1)), settled(100_000, 2));
    scene.assert_refused_and_not_stored(&elsewhere, "after the set is settled");
    scene.assert_refused_and_not_stored(&spontaneous, "after the set is settled");
}

#[test]
fn settled_set_rejects_further_shards() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(0);
    let mut payment = Payment::new(set(1), addr(&invoice), 50_000);
    scene.assert_settles(&[payment.shard(50_000, true)]);
    let more = shards(set(1), addr(&invoice), &[20_000, 30_000]);
    for shard in &more {
        scene.assert_refused_and_not_stored(shard, "right after settling");
    }
    scene.restart();
    scene.assert_refused_and_not_stored(&more[0], "after a restart");
    assert_eq!(scene.stored_set(set(1)), settled(50_000, 1));
}

#[test]
fn wrong_share_fails_its_set_but_the_invoice_stays_payable() {
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
        scene.stored_set(set(1)),
        canceled(1),
        "the shard with the wrong share is not stored"
    );
    assert_eq!(scene.receiver.invoices()[0].state, InvoiceState::Open);
    // The same set can be retried, and others can be paid.
    scene.assert_settles(&shards);
    scene.assert_settles(&self::shards(set(2), addr(&invoice), &[100_000]));
}

/// LDK reports the height of the refusal, even for a shard held since an earlier block. lnd reports the
/// height at which it accepted the shard; no sender is known to care.
#[test]
fn refusal_reports_the_current_height() {
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
    assert_eq!(
        row.accept_height, accepted_at,
        "API clients see the accept height"
    );
}

/// In lnd 0.21.2 this cancels the invoice, and the other set's shard stays held until the channel is
/// force-closed.
#[test]
fn wrong_share_does_not_affect_another_set_on_the_invoice() {
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
    assert_eq!(scene.stored_set(set(1)), settled(100_000, 2));
    assert_eq!(scene.stored_set(set(2)), canceled(2));
    scene.assert_settles(&shards(set(3), addr(&invoice), &[60_000, 40_000]));
    let invoice = scene.receiver.invoices().remove(0);
    assert_eq!(invoice.state, InvoiceState::Open);
    assert_eq!(invoice.amt_paid_msat, 200_000);
}

/// LDK fails a shard back 39 blocks before it expires. Claiming only the others would not be atomic.
#[test]
fn set_fails_whole_if_one_shard_is_about_to_be_failed_back() {
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
fn shard_that_ldk_fails_back_near_expiry_leaves_its_set() {
    let scene = Scene::new();
    let shards = shards(set(1), PaymentAddr::from_bytes([7; 32]), &[60_000, 40_000]);
    let first = scene.send(&shards[0].clone().expiring_in(45));
    scene.mine(6);
    assert_eq!(scene.outcome(&first), scene.refusal(&shards[0]));
    assert_eq!(scene.stored_set(set(1)), canceled(1));
    let second = scene.send(&shards[1]);
    assert_eq!(
        scene.outcome(&second),
        Outcome::InFlight,
        "incomplete without the first shard"
    );
    let stored = scene.stored_set(set(1)).unwrap();
    assert_eq!(stored.htlcs, [HtlcState::Canceled, HtlcState::Accepted]);
    assert_eq!(stored.amt_paid_msat, 40_000);
}
