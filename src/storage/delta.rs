//! The difference between two byte strings that are mostly equal: consecutive encodings of the channel
//! manager.
//!
//! A delta is a sequence of operations, each of three u32 (big-endian) and the bytes to insert: where in the
//! old bytes to copy from, how many to copy, how many to insert after them. An encoding changes in a few
//! places and its order stays (that of LDK's maps, until one grows). So equal stretches are found by
//! comparison, and only behind a changed place the next equal stretch is searched for, nearby first.

use foldhash::{HashMap, HashMapExt};

/// The length of the pieces by which an equal stretch is found, in bytes.
const PIECE: usize = 32;
/// How far ahead an equal stretch is searched for in both byte strings, in bytes; each only if the one before
/// it was too short.
const WINDOWS: [usize; 3] = [1_024, 16_384, 131_072];
/// The positions that a comparison may look at in windows, in all. Beyond this, the byte strings have so
/// little in common that a delta would not be worth it.
const MAX_SEARCHED: usize = 1_048_576;
/// The length of an operation without the bytes that it inserts.
const OPERATION: usize = 12;

/// Returns the delta that makes `new` out of `old`; `None` if it would be longer than half of `new`, takes
/// too long to find, or if one of them is 4 GiB or longer.
pub(super) fn between(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    if u32::try_from(old.len().max(new.len())).is_err() {
        return None;
    }
    let mut delta = Vec::new();
    let mut searched = 0;
    let (mut from, mut at) = (0, 0);
    loop {
        let copied = common_prefix(&old[from..], &new[at..]);
        let (old_end, new_end) = (from + copied, at + copied);
        let found = next_equal(&old[old_end..], &new[new_end..], &mut searched);
        let (skipped, inserted) = match found {
            Search::Found(skipped, inserted) => (skipped, inserted),
            Search::End => (0, new.len() - new_end),
            Search::TooLong => return None,
        };
        let bytes = &new[new_end..new_end + inserted];
        push(&mut delta, from, copied, bytes);
        if delta.len() > new.len() / 2 {
            return None;
        }
        (from, at) = (old_end + skipped, new_end + inserted);
        if at == new.len() {
            return Some(delta);
        }
    }
}

/// Applies a delta to `old`. Returns `None` if it is not a delta, or not one of `old`.
pub(super) fn apply(old: &[u8], mut delta: &[u8]) -> Option<Vec<u8>> {
    let mut new = Vec::with_capacity(old.len() + delta.len());
    while !delta.is_empty() {
        let [from, copied, inserted] = [number(delta, 0)?, number(delta, 1)?, number(delta, 2)?];
        let bytes = delta.get(OPERATION..)?.get(..inserted)?;
        new.extend_from_slice(old.get(from..)?.get(..copied)?);
        new.extend_from_slice(bytes);
        delta = &delta[OPERATION + inserted..];
    }
    Some(new)
}

fn number(delta: &[u8], index: usize) -> Option<usize> {
    let bytes = delta.get(4 * index..)?.first_chunk()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}

fn push(delta: &mut Vec<u8>, from: usize, copied: usize, inserted: &[u8]) {
    for number in [from, copied, inserted.len()] {
        // Fits: the lengths of both byte strings do.
        delta.extend_from_slice(&(number as u32).to_be_bytes());
    }
    delta.extend_from_slice(inserted);
}

/// Returns how many bytes at the beginning are equal.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let mut equal = 0;
    // Large pieces are compared far faster than single bytes.
    for length in [4_096, 64, 1] {
        let pieces = one[equal..].chunks_exact(length);
        let pieces = pieces.zip(other[equal..].chunks_exact(length));
        equal += length * pieces.take_while(|(one, other)| one == other).count();
    }
    equal
}

/// The result of a search for the next stretch that two byte strings have in common.
enum Search {
    /// Where it begins in the old and in the new bytes.
    Found(usize, usize),
    /// There is none, or the new bytes end here.
    End,
    /// Both are so different that the search was given up.
    TooLong,
}

fn next_equal(old: &[u8], new: &[u8], searched: &mut usize) -> Search {
    if old.len() < PIECE || new.len() < PIECE {
        return Search::End;
    }
    for window in WINDOWS {
        let old_window = &old[..window.min(old.len())];
        let new_window = &new[..window.min(new.len())];
        *searched += old_window.len() + new_window.len();
        if *searched > MAX_SEARCHED {
            return Search::TooLong;
        }
        if let Some((skipped, inserted)) = first_equal_piece(old_window, new_window) {
            return Search::Found(skipped, inserted);
        }
        if old_window.len() == old.len() && new_window.len() == new.len() {
            return Search::End;
        }
    }
    Search::TooLong
}

/// Returns where the first piece of `new` that is also one of `old` begins in both.
fn first_equal_piece(old: &[u8], new: &[u8]) -> Option<(usize, usize)> {
    let (old_pieces, _) = old.as_chunks::<PIECE>();
    let mut pieces: HashMap<u64, usize> = HashMap::with_capacity(old_pieces.len());
    for (index, piece) in old_pieces.iter().enumerate() {
        pieces.entry(fingerprint(piece)).or_insert(index);
    }
    let (mut inserted, mut skipped) =
        new.windows(PIECE)
            .enumerate()
            .find_map(|(position, piece)| {
                let piece = piece.first_chunk()?;
                let index = *pieces.get(&fingerprint(piece))?;
                // The bytes decide: others may have the same fingerprint.
                (old_pieces.get(index)? == piece).then_some((position, index * PIECE))
            })?;
    // The stretch begins in the middle of a piece.
    while inserted > 0 && skipped > 0 && new[inserted - 1] == old[skipped - 1] {
        (inserted, skipped) = (inserted - 1, skipped - 1);
    }
    Some((skipped, inserted))
}

/// Combines the bytes of a piece. Much cheaper than a hash that withstands attackers; the worst that a peer
/// can achieve with equal fingerprints is a longer delta.
fn fingerprint(piece: &[u8; PIECE]) -> u64 {
    let (words, _) = piece.as_chunks::<8>();
    words.iter().fold(0, |combined: u64, word| {
        (combined ^ u64::from_le_bytes(*word))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}

#[cfg(test)]
mod tests;
