//! Limits on incomplete sets: how long HTLCs are held, and how many.

use crate::invoices::test_registry::*;
use crate::model::htlc::HtlcState;
use crate::storage::invoices::PutHtlc;

#[tokio::test]
async fn incomplete_sets_time_out_and_can_be_retried() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    let due = fixture.registry.expire_sets(0).unwrap();
    assert_eq!(fixture.registry.expire_sets(due - 1), Some(due));
    assert_eq!(fixture.port.answers(), []);
    assert_eq!(fixture.registry.expire_sets(due), None);
    assert_eq!(fixture.port.answers(), [Answer::TimeOut(shards[0].hash())]);
    assert_eq!(fixture.state(&shards[0]), Some(HtlcState::Canceled));
    assert_eq!(fixture.set(1).unwrap().state, HtlcState::Canceled);
    // lnd retries the amount under the same set id.
    let mut again = payment(1, &[30, 30, 40]);
    for shard in &mut again {
        shard.envelope.htlc_id += 100;
    }
    assert_eq!(fixture.arrive_all(&again), claims(&again));
}

#[tokio::test]
async fn hold_times_are_per_htlc_and_survive_restarts() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 30, 10]);
    fixture.arrive_all(&shards[..2]);
    fixture.store.flush();
    // As if the first had arrived a minute earlier.
    let key = shards[0].envelope.key();
    let mut row = fixture.store.htlc(&key).unwrap().unwrap();
    row.accepted_at -= 60;
    let due = row.accepted_at + 120;
    fixture.store.submit(PutHtlc(row));
    let fixture = fixture.restart();
    assert!(fixture.registry.expire_sets(due - 1) == Some(due));
    let later = fixture.registry.expire_sets(due).unwrap();
    assert!((due + 59..due + 65).contains(&later), "{due} {later}");
    assert_eq!(fixture.port.answers(), [Answer::TimeOut(shards[0].hash())]);
    assert_eq!(fixture.state(&shards[1]), Some(HtlcState::Accepted));
}

#[tokio::test]
async fn timer_fails_overdue_htlcs() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive(&shards[0]);
    fixture.store.flush();
    let key = shards[0].envelope.key();
    let row = fixture.store.htlc(&key).unwrap();
    let mut row = row.unwrap();
    row.accepted_at -= 120;
    fixture.store.submit(PutHtlc(row));
    let fixture = fixture.restart();
    let stop = tokio_util::sync::CancellationToken::new();
    let (registry, ended) = (fixture.registry.clone(), stop.clone());
    let timers = tokio::spawn(async move { registry.run_timers(ended).await });
    while fixture.port.answers.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.port.answers(), [Answer::TimeOut(shards[0].hash())]);
    stop.cancel();
    timers.await.unwrap();
}

#[tokio::test]
async fn limits_incomplete_sets() {
    let fixture = Fixture::new();
    for id in 1..=3 {
        assert_eq!(fixture.arrive(&payment(id, &[60, 40])[0]), []);
    }
    let one_more = payment(4, &[60, 40]).remove(0);
    assert_eq!(fixture.arrive(&one_more), fails([&one_more]));
    // Shards that complete their set are not held.
    let whole = payment(5, &[100]);
    assert_eq!(fixture.arrive_all(&whole), claims(&whole));
    let third = payment(3, &[60, 40]);
    assert_eq!(fixture.arrive(&third[1]), claims(&third));
    assert_eq!(fixture.arrive(&payment(6, &[60, 40])[0]), []);
}

#[tokio::test]
async fn limits_held_htlcs_per_channel() {
    let fixture = Fixture::new();
    let (a, b) = (payment(1, &[10; 4]), payment(2, &[10; 5]));
    assert_eq!(fixture.arrive_all(&a[..3]), []);
    assert_eq!(fixture.arrive_all(&b[..3]), []);
    assert_eq!(fixture.arrive(&b[3]), fails(&b[3..4]));
    let elsewhere = b[3].clone().on_channel(2);
    assert_eq!(fixture.arrive(&elsewhere), []);
    assert_eq!(
        fixture.arrive(&a[3]),
        claims(&a),
        "a completing shard must not be limited"
    );
}

#[tokio::test]
async fn limits_htlcs_per_set() {
    let fixture = Fixture::new();
    let shards = payment(1, &[10; 6]);
    assert_eq!(fixture.arrive_all(&shards[..5]), []);
    let last = shards[5].clone().on_channel(2);
    assert_eq!(fixture.arrive(&last), fails([&last]));
    assert_eq!(fixture.set(1).unwrap().amt_paid_msat, 50);
}
