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
fn what_failed_waits_behind_what_is_new_and_longer_each_time() {
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
fn what_has_our_money_goes_before_what_brings_nothing_and_before_missing_inputs() {
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
fn a_repeat_of_what_misses_its_inputs_is_not_new() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let coin = transaction(&[], 1);
    let version = |sat| Submission::new(vec![transaction(&[&coin], sat)]);
    queue.add(version(2), now);
    queue.next(now).unwrap();
    queue.failed(&version(2), Failure::MissingInputs, now);
    assert!(!queue.add(version(2), now));
    assert!(
        queue.add(version(3), now),
        "a newer version takes its place"
    );
    assert_eq!(queue.len(), 1);
    assert_eq!(next_txids(&mut queue, now), None, "and waits as long");
    let due = now + FIRST_PAUSE;
    assert_eq!(next_txids(&mut queue, due), txids(&version(3)));
    // A fee that was too low is another matter.
    queue.failed(&version(3), Failure::Refused, due);
    queue.add(version(4), due);
    assert_eq!(next_txids(&mut queue, due), txids(&version(4)));
}

#[test]
fn a_refused_submission_is_tried_as_long_as_it_is_asked_for() {
    let mut queue = Queue::default();
    let start = Instant::now();
    let (refused, unjudged) = (single(1), single(2));
    queue.add(refused.clone(), start);
    queue.add(unjudged.clone(), start);
    let mut now = start;
    for _ in 0..100 {
        now += LONGEST_PAUSE;
        queue.add(refused.clone(), now);
        for (one, why) in [
            (&refused, Failure::MissingInputs),
            (&unjudged, Failure::Unjudged),
        ] {
            let kept = queue.failed(one, why, now);
            assert!(matches!(kept, Failed::Kept { .. }));
        }
    }
    assert_eq!(queue.next_due(), Some(now + LONGEST_URGENT_PAUSE));
    now += FORGOTTEN;
    let failed = queue.failed(&refused, Failure::MissingInputs, now);
    assert_eq!(failed, Failed::Dropped);
    let failed = queue.failed(&unjudged, Failure::Unjudged, now);
    assert!(matches!(failed, Failed::Kept { .. }));
}

#[test]
fn nothing_that_was_never_tried_is_dropped_and_what_brings_nothing_goes_first() {
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
    assert_eq!(queue.len(), 2 * MAX_FAILED, "one that failed is gone");
    assert_eq!(queue.position(&single(7)), None);
    assert_eq!(next_txids(&mut queue, now), txids(&single(most + 1)));
}

#[test]
fn a_newer_version_takes_the_place_of_the_one_that_waits() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let coin = transaction(&[], 1);
    let version = |sat| Submission::new(vec![transaction(&[&coin], sat)]);
    assert!(queue.add(version(2), now));
    assert!(!queue.add(version(2), now), "the same is merged");
    assert!(queue.add(version(3), now));
    assert_eq!(queue.len(), 1);
    assert_eq!(next_txids(&mut queue, now), txids(&version(3)));
    // The older one was on its way meanwhile.
    queue.sent(&version(2));
    let failed = queue.failed(&version(2), Failure::Refused, now);
    assert_eq!((failed, queue.len()), (Failed::Dropped, 1));
}

#[test]
fn what_is_asked_for_with_more_urgency_becomes_more_urgent() {
    let mut queue = Queue::default();
    let now = Instant::now();
    queue.add(idle(1), now);
    queue.add(single(2).with_priority(Priority::Normal), now);
    queue.add(single(1), now);
    assert_eq!(next_txids(&mut queue, now), txids(&single(1)));
}

#[test]
fn a_child_waits_for_its_parent_and_nothing_is_sent_twice_at_once() {
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
fn what_is_repeated_is_tried_once() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let repeated = Submission::repeated(transaction(&[], 1));
    queue.add(repeated.clone(), now);
    queue.next(now).unwrap();
    let failed = queue.failed(&repeated, Failure::Unjudged, now);
    assert_eq!((failed, queue.len()), (Failed::Dropped, 0));
}

#[test]
fn what_comes_while_it_is_repeated_is_not_dropped_with_the_repetition() {
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
fn a_child_with_another_coin_does_not_wait_for_the_coin_that_is_gone() {
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
fn what_has_our_money_in_it_never_waits_a_minute_unless_its_inputs_are_missing() {
    for (why, longest) in [
        (Failure::Unjudged, LONGEST_URGENT_PAUSE),
        (Failure::Refused, LONGEST_URGENT_PAUSE),
        (Failure::MissingInputs, LONGEST_PAUSE),
    ] {
        assert_eq!(pause_after(100, why, Priority::Urgent), longest);
    }
    let closing = pause_after(100, Failure::Unjudged, Priority::Normal);
    assert_eq!(closing, LONGEST_PAUSE);
}
