//! Tests of the receiver's set, rule by rule.

use lightning::ln::types::ChannelId;
use proptest::prelude::*;

use super::super::Splitter;
use super::*;

const HEIGHT: u32 = 800_000;
const NOW: u64 = 1_790_000_000;
const SET_ID: SetId = SetId::from_bytes([0xaa; 32]);

fn key(htlc_id: u64) -> HtlcKey {
    HtlcKey {
        channel_id: ChannelId([7; 32]),
        htlc_id,
    }
}

/// The HTLCs of an honest payment of `total_msat`, one shard per amount.
fn payment(amounts: &[u64], total_msat: u64) -> Vec<SetHtlc> {
    let mut splitter = Splitter::new(Share::from_bytes([0x42; 32]));
    let shards = amounts.iter().enumerate().map(|(i, amount)| {
        let last = i + 1 == amounts.len();
        let shard = splitter
            .next_shard([i as u8 + 1; 32], i as u32, last)
            .unwrap();
        SetHtlc {
            key: key(i as u64),
            payment_hash: shard.child.hash,
            amount_msat: *amount,
            share: shard.share,
            child_index: shard.index,
            total_msat,
            cltv_expiry: HEIGHT + 80,
            claim_deadline: Some(HEIGHT + 41),
            accepted_height: HEIGHT,
            accepted_at: NOW,
        }
    });
    shards.collect()
}

fn set() -> HtlcSet {
    HtlcSet::new(SET_ID, SetLimits::default())
}

fn fail(reason: FailReason, htlcs: &[&SetHtlc]) -> Outcome {
    Outcome::Fail {
        reason,
        htlcs: htlcs.iter().map(|htlc| htlc.reference()).collect(),
    }
}

/// Removes overdue HTLCs.
fn expire(set: &mut HtlcSet, now: u64) -> Vec<HtlcKey> {
    let overdue = set.overdue(now);
    for key in &overdue {
        set.remove(key);
    }
    overdue
}

fn settled(outcome: Outcome) -> Vec<Claim> {
    let Outcome::Settle(claims) = outcome else {
        panic!("not settled: {outcome:?}")
    };
    for claim in &claims {
        assert_eq!(PaymentHash::from(claim.preimage), claim.payment_hash);
    }
    claims
}

/// Offers the HTLCs one after the other; all but the last must be held.
fn fill(set: &mut HtlcSet, htlcs: &[SetHtlc], height: u32) -> Outcome {
    let (last, first) = htlcs.split_last().unwrap();
    for htlc in first {
        assert_eq!(set.accept(htlc.clone(), height), Outcome::Hold);
    }
    set.accept(last.clone(), height)
}

#[test]
fn single_shard_settles_immediately() {
    let mut set = set();
    let claims = settled(fill(&mut set, &payment(&[5], 5), HEIGHT));
    assert_eq!(claims.len(), 1);
    assert!(set.is_settled());
    assert_eq!(set.held_msat(), 0);
}

#[test]
fn holds_incomplete_sets_and_settles_complete_ones() {
    let mut set = set();
    let htlcs = payment(&[60, 30, 10], 100);
    assert_eq!(set.accept(htlcs[2].clone(), HEIGHT), Outcome::Hold);
    assert_eq!(set.accept(htlcs[0].clone(), HEIGHT), Outcome::Hold);
    assert_eq!(set.held_msat(), 70);
    let claims = settled(set.accept(htlcs[1].clone(), HEIGHT));
    let keys: Vec<_> = claims.iter().map(|claim| claim.key).collect();
    assert_eq!(keys, [key(0), key(1), key(2)]);
}

#[test]
fn overpaid_sets_settle() {
    settled(fill(&mut set(), &payment(&[60, 60], 100), HEIGHT));
}

#[test]
fn rejects_total_of_zero() {
    let htlcs = payment(&[5], 0);
    let outcome = set().accept(htlcs[0].clone(), HEIGHT);
    assert_eq!(outcome, fail(FailReason::HtlcSetTotalTooLow, &[&htlcs[0]]));
}

#[test]
fn total_mismatch_fails_only_the_new_htlc() {
    let mut set = set();
    let mut htlcs = payment(&[50, 50], 100);
    assert_eq!(set.accept(htlcs[0].clone(), HEIGHT), Outcome::Hold);
    htlcs[1].total_msat = 101;
    let outcome = set.accept(htlcs[1].clone(), HEIGHT);
    assert_eq!(
        outcome,
        fail(FailReason::HtlcSetTotalMismatch, &[&htlcs[1]])
    );
    htlcs[1].total_msat = 100;
    settled(set.accept(htlcs[1].clone(), HEIGHT));
}

#[test]
fn rejects_zero_set_id() {
    let mut set = HtlcSet::new(SetId::from_bytes([0; 32]), SetLimits::default());
    let htlcs = payment(&[5], 5);
    let outcome = set.accept(htlcs[0].clone(), HEIGHT);
    assert_eq!(outcome, fail(FailReason::AmpError, &[&htlcs[0]]));
}

#[test]
fn invalid_share_fails_the_set_which_can_be_retried() {
    let mut set = set();
    let mut htlcs = payment(&[50, 50], 100);
    let good = htlcs[1].share.clone();
    htlcs[1].share = Share::from_bytes([0xee; 32]);
    let outcome = fill(&mut set, &htlcs, HEIGHT);
    assert_eq!(
        outcome,
        fail(FailReason::AmpReconstruction, &[&htlcs[0], &htlcs[1]])
    );
    assert_eq!(set.held().count(), 0);
    htlcs[1].share = good;
    settled(fill(&mut set, &htlcs, HEIGHT));
}

#[test]
fn invalid_child_index_or_hash_fails_the_set() {
    for spoil in [
        |htlc: &mut SetHtlc| htlc.child_index = 9,
        |htlc: &mut SetHtlc| htlc.payment_hash.0[0] ^= 1,
    ] {
        let mut htlcs = payment(&[50, 50], 100);
        spoil(&mut htlcs[0]);
        let outcome = fill(&mut set(), &htlcs, HEIGHT);
        assert_eq!(
            outcome,
            fail(FailReason::AmpReconstruction, &[&htlcs[0], &htlcs[1]])
        );
    }
}

#[test]
fn settled_sets_reject_further_htlcs() {
    let mut set = set();
    let htlcs = payment(&[50, 50, 1], 100);
    let mut honest = payment(&[50, 50], 100);
    settled(fill(&mut set, &honest, HEIGHT));
    let outcome = set.accept(htlcs[2].clone(), HEIGHT);
    assert_eq!(outcome, fail(FailReason::HtlcSetSettled, &[&htlcs[2]]));
    // Not even a copy of one of its shards in another HTLC.
    honest[0].key = key(77);
    let outcome = set.accept(honest[0].clone(), HEIGHT);
    assert_eq!(outcome, fail(FailReason::HtlcSetSettled, &[&honest[0]]));
}

#[test]
fn replays_get_the_same_answer() {
    let mut set = set();
    let htlcs = payment(&[50, 50], 100);
    assert_eq!(set.replay(&key(0)), None);
    assert_eq!(set.accept(htlcs[0].clone(), HEIGHT), Outcome::Hold);
    let late = SetHtlc {
        accepted_at: NOW + 100,
        ..htlcs[0].clone()
    };
    assert_eq!(set.accept(late, HEIGHT), Outcome::Hold);
    assert_eq!(set.held_msat(), 50, "must not be counted twice");
    assert_eq!(
        set.next_expiry(),
        Some(NOW + 120),
        "must keep its original time"
    );

    let claims = settled(set.accept(htlcs[1].clone(), HEIGHT));
    let again = settled(set.accept(htlcs[0].clone(), HEIGHT + 1000));
    assert_eq!(
        again,
        claims[..1],
        "must have its own preimage at any height"
    );
    assert_eq!(settled(set.replay(&key(1)).unwrap()), claims[1..]);
}

#[test]
fn set_near_its_earliest_deadline_fails() {
    let mut htlcs = payment(&[50, 50], 100);
    htlcs[0].claim_deadline = Some(HEIGHT + 1);
    let outcome = fill(&mut set(), &htlcs, HEIGHT);
    assert_eq!(
        outcome,
        fail(FailReason::ClaimDeadlineTooNear, &[&htlcs[0], &htlcs[1]])
    );
    htlcs[0].claim_deadline = Some(HEIGHT + 2);
    settled(fill(&mut set(), &htlcs, HEIGHT));
}

#[test]
fn missing_deadline_is_derived_from_the_expiry() {
    let mut htlcs = payment(&[50], 50);
    htlcs[0].claim_deadline = None;
    htlcs[0].cltv_expiry = HEIGHT + FAIL_BACK_BUFFER + 1;
    let outcome = fill(&mut set(), &htlcs, HEIGHT);
    assert_eq!(
        outcome,
        fail(FailReason::ClaimDeadlineTooNear, &[&htlcs[0]])
    );
    htlcs[0].cltv_expiry += 1;
    settled(fill(&mut set(), &htlcs, HEIGHT));
}

#[test]
fn limits_the_htlcs_of_a_set() {
    let limits = SetLimits {
        max_htlcs: 2,
        ..SetLimits::default()
    };
    let mut set = HtlcSet::new(SET_ID, limits);
    let htlcs = payment(&[1, 1, 1], 3);
    let outcome = fill(&mut set, &htlcs, HEIGHT);
    assert_eq!(outcome, fail(FailReason::HtlcSetTooLarge, &[&htlcs[2]]));
    assert_eq!(set.held().count(), 2);
}

#[test]
fn htlcs_time_out_individually() {
    let mut set = set();
    let mut htlcs = payment(&[10, 10, 10], 100);
    htlcs[1].accepted_at = NOW + 60;
    htlcs[2].accepted_at = NOW + 500;
    assert_eq!(fill(&mut set, &htlcs, HEIGHT), Outcome::Hold);
    assert_eq!(expire(&mut set, NOW + 119), []);
    assert_eq!(expire(&mut set, NOW + 120), [key(0)]);
    assert_eq!(set.next_expiry(), Some(NOW + 180));
    assert_eq!(expire(&mut set, NOW + 180), [key(1)]);
    assert_eq!(
        expire(&mut set, 0),
        [],
        "a clock set back must not expire HTLCs"
    );
    assert_eq!(set.held_msat(), 10);
}

#[test]
fn timed_out_sets_can_be_retried() {
    let mut set = set();
    let htlcs = payment(&[50, 50], 100);
    assert_eq!(set.accept(htlcs[0].clone(), HEIGHT), Outcome::Hold);
    assert_eq!(expire(&mut set, NOW + 120).len(), 1);
    let retry: Vec<_> = htlcs
        .into_iter()
        .map(|htlc| SetHtlc {
            key: key(htlc.key.htlc_id + 10),
            accepted_at: NOW + 130,
            ..htlc
        })
        .collect();
    settled(fill(&mut set, &retry, HEIGHT));
}

#[test]
fn settled_sets_do_not_expire() {
    let mut set = set();
    settled(fill(&mut set, &payment(&[1], 1), HEIGHT));
    assert_eq!(expire(&mut set, u64::MAX), []);
    assert_eq!(set.clear(), []);
    assert_eq!(set.remove(&key(0)), None);
    assert_eq!(set.next_expiry(), None);
    assert!(set.replay(&key(0)).is_some());
}

#[test]
fn removed_htlcs_do_not_count() {
    let mut set = set();
    let htlcs = payment(&[50, 50], 100);
    assert_eq!(set.accept(htlcs[0].clone(), HEIGHT), Outcome::Hold);
    assert_eq!(set.remove(&key(0)), Some(htlcs[0].clone()));
    assert_eq!(set.remove(&key(0)), None);
    assert_eq!(set.accept(htlcs[1].clone(), HEIGHT), Outcome::Hold);
    assert_eq!(set.clear(), [htlcs[1].reference()]);
}

#[test]
fn overflowing_amounts_complete_the_set() {
    let htlcs = payment(&[u64::MAX - 1, u64::MAX - 1], u64::MAX);
    settled(fill(&mut set(), &htlcs, HEIGHT));
    let outcome = set().accept(payment(&[1, 1], 9)[0].clone(), u32::MAX);
    assert_eq!(outcome, Outcome::Hold);
}

/// LDK never passes a second HTLC with a hash that it holds; if it did, both would be claimed.
#[test]
fn htlcs_with_equal_hashes_both_settle() {
    let root = Share::from_bytes([0x42; 32]);
    let twin = Share::from_bytes([1; 32]);
    let child = Child::derive(&root, &twin, 5);
    let mut htlcs = payment(&[40, 40, 20], 100);
    for htlc in &mut htlcs[..2] {
        (htlc.share, htlc.child_index, htlc.payment_hash) = (twin.clone(), 5, child.hash);
    }
    // The equal shares cancel out, so the third share is the root.
    let third = Child::derive(&root, &root, 6);
    (htlcs[2].share, htlcs[2].child_index, htlcs[2].payment_hash) = (root, 6, third.hash);
    let claims = settled(fill(&mut set(), &htlcs, HEIGHT));
    assert_eq!(claims.len(), 3);
    assert_eq!(claims[0].preimage, claims[1].preimage);
}

#[test]
fn restored_sets_continue() {
    let htlcs = payment(&[50, 50], 100);
    let mut set = HtlcSet::restore(SET_ID, SetLimits::default(), [htlcs[0].clone()]);
    assert_eq!(set.replay(&key(0)), Some(Outcome::Hold));
    let claims = settled(set.accept(htlcs[1].clone(), HEIGHT));

    let set = HtlcSet::restore_settled(SET_ID, SetLimits::default(), claims.clone());
    assert!(set.is_settled());
    assert_eq!(settled(set.replay(&key(1)).unwrap()), claims[1..]);
}

#[test]
fn debug_output_hides_secrets() {
    let mut set = set();
    let htlcs = payment(&[50, 50], 100);
    assert_eq!(set.accept(htlcs[0].clone(), HEIGHT), Outcome::Hold);
    assert!(format!("{set:?}").contains("Share(redacted)"));
    let claims = settled(set.accept(htlcs[1].clone(), HEIGHT));
    let text = format!("{claims:?} {set:?}");
    assert!(!text.contains(&claims[0].preimage.to_string()), "{text}");
}

proptest! {
    #[test]
    fn preimages_do_not_depend_on_arrival_order(
        amounts in prop::collection::vec(1..1_000_000u64, 1..20),
        swaps in prop::collection::vec((0..20usize, 0..20usize), 0..20),
    ) {
        let htlcs = payment(&amounts, amounts.iter().sum());
        let mut mixed = htlcs.clone();
        for (a, b) in swaps {
            let (a, b) = (a % mixed.len(), b % mixed.len());
            mixed.swap(a, b);
        }
        let claims = settled(fill(&mut set(), &mixed, HEIGHT));
        prop_assert_eq!(claims, settled(fill(&mut set(), &htlcs, HEIGHT)));
    }
}
