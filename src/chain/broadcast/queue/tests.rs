//! Tests of the order and the repetition of submissions.

use super::*;
use crate::chain::broadcast::test_data::transaction;

fn single(sat: u64) -> Submission {
    let coin = transaction(&[], sat);
    Submission::new(vec![transaction(&[&coin], sat)])
}

fn idle(sat: u64) -> Submission {
    single(sat).with_priority(Priority::Idle)
}

fn next_txids(queue: &mut Queue, now: Instant) -> Option<Vec<Txid>> {
    queue.next(now).map(|next| next.txids().to_vec())
}

fn txids(submission: &Submission) -> Option<Vec<Txid>> {
    Some(submission.txids().to_vec())
}

#[test]
fn failed_submissions_wait_behind_new_ones_with_growing_pauses() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let (bad, good) = (single(1), single(2));
    queue.add(bad.clone(), now);
    queue.add(good.clone(), now);
    assert_eq!(next_txids(&mut queue, now), txids(&bad));
    let failed = queue.failed(&bad, Failure::Refused, now);
    assert_eq!(failed, Failed::Kept { tries: 1 });
    assert_eq!(next_txids(&mut queue, now), txids(&good));
    queue.sent(&good);
    assert_eq!(next_txids(&mut queue, now), None);
    let due = queue.next_due().unwrap();
    assert_eq!(due, now + FIRST_PAUSE);
    assert_eq!(next_txids(&mut queue, due), txids(&bad));
    queue.failed(&bad, Failure::Refused, due);
    assert_eq!(queue.next_due(), Some(due + 2 * FIRST_PAUSE));
}

#[test]
fn order_is_urgent_normal_idle_then_missing_inputs() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let (missing, nothing) = (single(1), idle(2));
    let (closing, claim) = (single(3).with_priority(Priority::Normal), single(4));
    queue.add(missing.clone(), now);
    queue.next(now).unwrap();
    queue.failed(&missing, Failure::MissingInputs, now);
    for later in [&nothing, &closing, &claim] {
        queue.add(later.clone(), now);
    }
    let now = now + FIRST_PAUSE;
    for expected in [&claim, &closing, &nothing, &missing] {
        assert_eq!(next_txids(&mut queue, now), txids(expected));
    }
    assert_eq!(next_txids(&mut queue, now), None, "all are being sent");
}

#[test]
fn new_version_with_missing_inputs_keeps_its_pause() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let coin = transaction(&[], 1);
    let version = |sat| Submission::new(vec![transaction(&[&coin], sat)]);
    queue.add(version(2), now);
    queue.next(now).unwrap();
    queue.failed(&version(2), Failure::MissingInputs, now);
    assert!(!queue.add(version(2), now));
    assert!(queue.add(version(3), now), "a newer version replaces it");
    assert_eq!(queue.len(), 1);
    assert_eq!(next_txids(&mut queue, now), None, "with the same pause");
    let due = now + FIRST_PAUSE;
    assert_eq!(next_txids(&mut queue, due), txids(&version(3)));
    // A rejection for a low fee does not delay a new version.
    queue.failed(&version(3), Failure::Refused, due);
    queue.add(version(4), due);
    assert_eq!(next_txids(&mut queue, due), txids(&version(4)));
}

#[test]
fn rejected_submission_is_retried_while_it_is_resubmitted() {
    let mut queue = Queue::default();
    let start = Instant::now();
    let (refused, unjudged) = (single(1), single(2));
    queue.add(refused.clone(), start);
    queue.add(unjudged.clone(), start);
    let mut now = start;
    for _ in 0..100 {
        now += MAX_PAUSE;
        queue.add(refused.clone(), now);
        for (one, why) in [
            (&refused, Failure::MissingInputs),
            (&unjudged, Failure::Unjudged),
        ] {
            let kept = queue.failed(one, why, now);
            assert!(matches!(kept, Failed::Kept { .. }));
        }
    }
    assert_eq!(queue.next_due(), Some(now + MAX_URGENT_PAUSE));
    now += MAX_AGE;
    let failed = queue.failed(&refused, Failure::MissingInputs, now);
    assert_eq!(failed, Failed::Dropped);
    let failed = queue.failed(&unjudged, Failure::Unjudged, now);
    assert!(matches!(failed, Failed::Kept { .. }));
}

#[test]
fn untried_submissions_are_never_dropped_and_idle_ones_are_dropped_first() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let most = MAX_FAILED as u64;
    for sat in 0..=2 * most {
        queue.add(if sat == 7 { idle(sat) } else { single(sat) }, now);
    }
    assert_eq!(queue.len(), 2 * MAX_FAILED + 1);
    for sat in 0..=most {
        queue.failed(&single(sat), Failure::Unjudged, now);
    }
    assert_eq!(queue.len(), 2 * MAX_FAILED, "one failed entry is dropped");
    assert_eq!(queue.position(&single(7)), None);
    assert_eq!(next_txids(&mut queue, now), txids(&single(most + 1)));
}

#[test]
fn newer_version_replaces_the_queued_one() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let coin = transaction(&[], 1);
    let version = |sat| Submission::new(vec![transaction(&[&coin], sat)]);
    assert!(queue.add(version(2), now));
    assert!(!queue.add(version(2), now), "the same is merged");
    assert!(queue.add(version(3), now));
    assert_eq!(queue.len(), 1);
    assert_eq!(next_txids(&mut queue, now), txids(&version(3)));
    // The older version was being sent at that time.
    queue.sent(&version(2));
    let failed = queue.failed(&version(2), Failure::Refused, now);
    assert_eq!((failed, queue.len()), (Failed::Dropped, 1));
}

#[test]
fn resubmission_raises_the_priority() {
    let mut queue = Queue::default();
    let now = Instant::now();
    queue.add(idle(1), now);
    queue.add(single(2).with_priority(Priority::Normal), now);
    queue.add(single(1), now);
    assert_eq!(next_txids(&mut queue, now), txids(&single(1)));
}

#[test]
fn child_waits_for_its_parent_and_nothing_is_sent_twice_in_parallel() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let parent = transaction(&[&transaction(&[], 1)], 1);
    let child = Submission::new(vec![transaction(&[&parent], 2)]);
    let parent = Submission::new(vec![parent]);
    queue.add(parent.clone(), now);
    queue.add(child.clone(), now);
    assert_eq!(next_txids(&mut queue, now), txids(&parent));
    assert_eq!(next_txids(&mut queue, now), None);
    queue.all_unsent();
    assert_eq!(next_txids(&mut queue, now), txids(&parent));
    queue.sent(&parent);
    assert_eq!(next_txids(&mut queue, now), txids(&child));
    queue.unsent(&child);
    assert_eq!(next_txids(&mut queue, now), txids(&child));
}

#[test]
fn repeated_submission_is_tried_once() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let repeated = Submission::repeated(transaction(&[], 1));
    queue.add(repeated.clone(), now);
    queue.next(now).unwrap();
    let failed = queue.failed(&repeated, Failure::Unjudged, now);
    assert_eq!((failed, queue.len()), (Failed::Dropped, 0));
}

#[test]
fn new_submission_survives_a_failed_repetition() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let closing = transaction(&[&transaction(&[], 1)], 1);
    let (repeated, new) = (
        Submission::repeated(closing.clone()),
        Submission::new(vec![closing]),
    );
    queue.add(repeated.clone(), now);
    queue.next(now).unwrap();
    queue.add(new.clone(), now);
    let failed = queue.failed(&repeated, Failure::Refused, now);
    assert_eq!(failed, Failed::Dropped);
    assert_eq!(next_txids(&mut queue, now), txids(&new));
}

#[test]
fn child_with_another_coin_does_not_keep_the_pause() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let commitment = transaction(&[&transaction(&[], 1)], 1);
    let with_coin = |sat: u64| {
        let child = transaction(&[&commitment, &transaction(&[], sat)], 2);
        Submission::new(vec![commitment.clone(), child])
    };
    queue.add(with_coin(10), now);
    queue.next(now).unwrap();
    queue.failed(&with_coin(10), Failure::MissingInputs, now);
    queue.add(with_coin(11), now);
    assert_eq!(queue.len(), 1);
    assert_eq!(next_txids(&mut queue, now), txids(&with_coin(11)));
}

#[test]
fn urgent_pause_is_short_unless_inputs_are_missing() {
    for (why, longest) in [
        (Failure::Unjudged, MAX_URGENT_PAUSE),
        (Failure::Refused, MAX_URGENT_PAUSE),
        (Failure::MissingInputs, MAX_PAUSE),
    ] {
        assert_eq!(pause_after(100, why, Priority::Urgent), longest);
    }
    let closing = pause_after(100, Failure::Unjudged, Priority::Normal);
    assert_eq!(closing, MAX_PAUSE);
}
