use crate::invoices::test_room::*;
use crate::storage::invoices::HtlcState;

#[tokio::test]
async fn held_sets_complete_after_a_restart() {
    let room = Room::new();
    let shards = payment(1, &[60, 30, 10]);
    room.arrive_all(&shards[..2]);
    let room = room.restart();
    assert_eq!(room.port.answers(), []);
    assert_eq!(room.arrive(&shards[1]), [], "replayed");
    assert_eq!(room.arrive(&shards[2]), claims(&shards));
    assert_eq!(room.set(1).unwrap().amt_paid_msat, 100);
}

/// LDK reports HTLCs in any order: the decision may not be on disk when it reports the held ones.
#[tokio::test]
async fn replayed_htlcs_of_a_settled_set_are_claimed() {
    let room = Room::new();
    let shards = payment(1, &[60, 30, 10]);
    room.arrive_all(&shards[..2]);
    let room = room.restart();
    assert_eq!(room.arrive(&shards[2]), claims(&shards));
    assert_eq!(room.arrive_all(&shards[..2]), claims(&shards[..2]));
}

/// Crash between the commit of the decision and the claims.
#[tokio::test]
async fn settled_htlcs_are_claimed_at_startup_until_ldk_confirms() {
    let room = Room::new();
    let shards = payment(1, &[60, 40]);
    room.arrive_all(&shards);
    let mut room = room;
    for _ in 0..2 {
        room = room.restart();
        let mut claimed = room.port.answers();
        claimed.sort_by_key(|answer| *answer != Answer::Claim(shards[0].hash()));
        assert_eq!(claimed, claims(&shards));
    }
    room.registry.payment_claimed(&shards[0].hash());
    room = room.restart();
    assert_eq!(room.port.answers(), claims(&shards[1..]));
    room.registry.payment_claimed(&shards[1].hash());
    room = room.restart();
    assert_eq!(room.port.answers(), []);
}

#[tokio::test]
async fn closes_rows_of_htlcs_that_ldk_no_longer_has() {
    let room = Room::new();
    let shards = payment(1, &[60, 30, 10]);
    room.arrive_all(&shards[..2]);
    room.port.forget(shards[0].envelope.key());
    let room = room.restart();
    assert_eq!(room.state(&shards[0]), Some(HtlcState::Canceled));
    assert_eq!(room.state(&shards[1]), Some(HtlcState::Accepted));
    let set = room.set(1).unwrap();
    assert_eq!((set.state, set.amt_paid_msat), (HtlcState::Canceled, 30));
    assert_eq!(room.arrive(&shards[2]), [], "held: 40 of 100");
    assert_eq!(room.set(1).unwrap().state, HtlcState::Accepted);
}

/// Crash between the commit of a set's end and LDK's own.
#[tokio::test]
async fn startup_fails_canceled_htlcs_that_ldk_still_holds() {
    let room = Room::new();
    let mut shards = payment(1, &[60, 40]);
    shards[1] = shards[1].clone().with_wrong_share();
    room.arrive_all(&shards);
    let room = room.restart();
    assert_eq!(room.port.answers(), fails(&shards[..1]));
    room.port.forget(shards[0].envelope.key());
    let room = room.restart();
    assert_eq!(room.port.answers(), []);
}

/// The sender or a forwarding node reused the hash while the node was down.
#[tokio::test]
async fn startup_keeps_canceled_htlcs_that_share_their_hash() {
    let room = Room::new();
    let mut shards = payment(1, &[60, 30, 10]);
    shards[2] = shards[2].clone().with_wrong_share();
    room.arrive_all(&shards);
    let mut again = payment(1, &[60, 30, 10]).remove(1);
    again.envelope.htlc_id += 10;
    assert_eq!(room.arrive(&again), []);
    let room = room.restart();
    assert_eq!(room.port.answers(), fails(&shards[..1]));
    assert_eq!(room.state(&again), Some(HtlcState::Accepted));
}

#[tokio::test]
async fn indices_continue_after_a_restart() {
    let room = Room::new();
    room.arrive_all(&payment(1, &[100]));
    let room = room.restart();
    room.arrive_all(&payment(2, &[100]));
    let indices: Vec<_> = room.invoices().iter().map(|i| i.add_index).collect();
    assert_eq!(indices, [1, 2]);
    assert_eq!(room.set(2).unwrap().settle_index, Some(2));
}
