//! HTLCs after a restart.

use crate::invoices::test_registry::*;
use crate::model::htlc::HtlcState;

#[tokio::test]
async fn held_sets_complete_after_a_restart() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 30, 10]);
    fixture.arrive_all(&shards[..2]);
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), []);
    assert_eq!(fixture.arrive(&shards[1]), [], "replayed");
    assert_eq!(fixture.arrive(&shards[2]), claims(&shards));
    assert_eq!(fixture.set(1).unwrap().amt_paid_msat, 100);
}

/// LDK reports HTLCs in any order: the decision may not be on disk when it reports the held ones.
#[tokio::test]
async fn replayed_htlcs_of_a_settled_set_are_claimed() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 30, 10]);
    fixture.arrive_all(&shards[..2]);
    let fixture = fixture.restart();
    assert_eq!(fixture.arrive(&shards[2]), claims(&shards));
    assert_eq!(fixture.arrive_all(&shards[..2]), claims(&shards[..2]));
}

/// Crash between the commit of the decision and the claims.
#[tokio::test]
async fn settled_htlcs_are_claimed_at_startup_until_ldk_confirms() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 40]);
    fixture.arrive_all(&shards);
    let mut fixture = fixture;
    for _ in 0..2 {
        fixture = fixture.restart();
        let mut claimed = fixture.port.answers();
        claimed.sort_by_key(|answer| *answer != Answer::Claim(shards[0].hash()));
        assert_eq!(claimed, claims(&shards));
    }
    fixture.registry.payment_claimed(&shards[0].hash());
    fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), claims(&shards[1..]));
    fixture.registry.payment_claimed(&shards[1].hash());
    fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), []);
}

#[tokio::test]
async fn closes_rows_of_htlcs_that_ldk_no_longer_has() {
    let fixture = Fixture::new();
    let shards = payment(1, &[60, 30, 10]);
    fixture.arrive_all(&shards[..2]);
    fixture.port.forget(shards[0].envelope.key());
    let fixture = fixture.restart();
    assert_eq!(fixture.state(&shards[0]), Some(HtlcState::Canceled));
    assert_eq!(fixture.state(&shards[1]), Some(HtlcState::Accepted));
    let set = fixture.set(1).unwrap();
    assert_eq!((set.state, set.amt_paid_msat), (HtlcState::Canceled, 30));
    assert_eq!(fixture.arrive(&shards[2]), [], "held: 40 of 100");
    assert_eq!(fixture.set(1).unwrap().state, HtlcState::Accepted);
}

/// Crash between the commit of a set's end and LDK's own.
#[tokio::test]
async fn startup_fails_canceled_htlcs_that_ldk_still_holds() {
    let fixture = Fixture::new();
    let mut shards = payment(1, &[60, 40]);
    shards[1] = shards[1].clone().with_wrong_share();
    fixture.arrive_all(&shards);
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), fails(&shards[..1]));
    fixture.port.forget(shards[0].envelope.key());
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), []);
}

/// The sender or a forwarding node reused the hash while the node was down.
#[tokio::test]
async fn startup_keeps_canceled_htlcs_that_share_their_hash() {
    let fixture = Fixture::new();
    let mut shards = payment(1, &[60, 30, 10]);
    shards[2] = shards[2].clone().with_wrong_share();
    fixture.arrive_all(&shards);
    let mut again = payment(1, &[60, 30, 10]).remove(1);
    again.envelope.htlc_id += 10;
    assert_eq!(fixture.arrive(&again), []);
    let fixture = fixture.restart();
    assert_eq!(fixture.port.answers(), fails(&shards[..1]));
    assert_eq!(fixture.state(&again), Some(HtlcState::Accepted));
}

#[tokio::test]
async fn indices_continue_after_a_restart() {
    let fixture = Fixture::new();
    fixture.arrive_all(&payment(1, &[100]));
    let fixture = fixture.restart();
    fixture.arrive_all(&payment(2, &[100]));
    let indices: Vec<_> = fixture.invoices().iter().map(|i| i.add_index).collect();
    assert_eq!(indices, [1, 2]);
    assert_eq!(fixture.set(2).unwrap().settle_index, Some(2));
}
