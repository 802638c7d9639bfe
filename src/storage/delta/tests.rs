//! Any two byte strings, and encodings that differ as those of LDK do.

use proptest::prelude::*;

use super::*;

/// Bytes that look like an encoding: many repetitions, with a number that differs.
fn encoding(channels: u32) -> Vec<u8> {
    (0..channels)
        .flat_map(|channel| {
            let seed = channel.wrapping_mul(2_654_435_761);
            let keys = (0..700u32).flat_map(move |i| (seed ^ (i * i)).to_be_bytes());
            keys.chain([0; 600])
        })
        .collect()
}

/// An edit: where, how many bytes to remove, and what to insert.
fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, Vec<u8>)>> {
    let inserted = prop::collection::vec(any::<u8>(), 0..400);
    prop::collection::vec((any::<prop::sample::Index>(), 0..400usize, inserted), 0..6)
}

fn edited(old: &[u8], edits: Vec<(prop::sample::Index, usize, Vec<u8>)>) -> Vec<u8> {
    let mut new = old.to_vec();
    for (at, removed, inserted) in edits {
        let start = at.index(new.len() + 1);
        let end = (start + removed).min(new.len());
        new.splice(start..end, inserted);
    }
    new
}

proptest! {
    #[test]
    fn applied_delta_restores_the_new_bytes(edits in edits(), channels in 0..4u32) {
        let old = encoding(channels);
        let new = edited(&old, edits);
        if let Some(delta) = between(&old, &new) {
            prop_assert_eq!(apply(&old, &delta), Some(new));
        }
    }

    #[test]
    fn bytes_without_anything_in_common_are_handled(
        old in prop::collection::vec(any::<u8>(), 0..3_000),
        new in prop::collection::vec(any::<u8>(), 0..3_000),
    ) {
        if let Some(delta) = between(&old, &new) {
            prop_assert_eq!(apply(&old, &delta), Some(new));
        }
    }

    #[test]
    fn malformed_deltas_do_not_panic(delta in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = apply(&encoding(1), &delta);
    }
}

#[test]
fn delta_is_as_small_as_the_change() {
    let old = encoding(1_000);
    let mut new = old.clone();
    new[1_000_000] ^= 1;
    new.splice(2_000_000..2_000_000, [7; 600]);
    new.drain(3_000_000..3_000_200);
    let delta = between(&old, &new).unwrap();
    assert!(delta.len() < 1_000, "{} bytes", delta.len());
    assert_eq!(apply(&old, &delta).unwrap(), new);
}

/// Channels of 3,400 bytes, with zeros between what differs.
fn similar_channels(count: u32) -> Vec<u8> {
    const FIELDS: u32 = 10;
    let field = |number: u32| {
        let seed = number.wrapping_mul(2_654_435_761);
        let value = (0..60u32).flat_map(move |i| (seed ^ (i * i)).to_be_bytes());
        value.chain([0; 100])
    };
    (0..count * FIELDS).flat_map(field).collect()
}

#[test]
fn similar_channels_are_not_confused() {
    let old = similar_channels(1_000);
    // What changes in a channel when an HTLC is committed.
    let mut new = old.clone();
    new.splice(130..148, [1; 18]);
    new.splice(455..1_831, [2; 9]);
    let delta = between(&old, &new).unwrap();
    assert!(delta.len() < 200, "{} bytes", delta.len());
    assert_eq!(apply(&old, &delta).unwrap(), new);
}

#[test]
fn large_change_of_one_channel_is_found() {
    let old = similar_channels(1_000);
    let mut without = old.clone();
    without.drain(500..200_500);
    let delta = between(&old, &without).unwrap();
    assert!(delta.len() < 200, "{} bytes", delta.len());
    assert_eq!(apply(&old, &delta).unwrap(), without);
    let delta = between(&without, &old).unwrap();
    assert!(delta.len() < 201_000, "{} bytes", delta.len());
    assert_eq!(apply(&without, &delta).unwrap(), old);
}

#[test]
fn equal_bytes_have_a_delta_of_one_operation() {
    let old = encoding(2);
    assert_eq!(between(&old, &old).unwrap().len(), OPERATION);
}

#[test]
fn reordered_bytes_have_no_delta() {
    let old = encoding(1_000);
    let new: Vec<u8> = old.rchunks(3_400).flatten().copied().collect();
    assert_eq!(between(&old, &new), None);
}
