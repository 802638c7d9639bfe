//! The difference between two byte strings that are mostly equal: consecutive encodings of the channel
//! manager.
//!
//! A delta is a sequence of operations, each of three u32 (big-endian) and the bytes to insert: where in the
//! old bytes to copy from, how many to copy, how many to insert after them. An encoding changes in a few
//! places and its order stays (that of LDK's maps, until one grows). So equal stretches are found by
//! comparison, and only behind a changed place the next equal stretch is searched for, nearby first.
//!
//! The next piece that both have is not enough: channels with the same peer share up to 2 kB, and a
//! comparison that takes one channel for another does so with all that follow. So a stretch longer than a
//! channel is searched for first; what is before it is compared piece by piece.

use foldhash::{HashMap, HashMapExt};

/// The length of the pieces by which an equal stretch is found, in bytes.
const PIECE: usize = 32;
/// The length of a stretch that is the same place in both encodings: more than a channel takes (3.4 kB), and
/// no two channels are the same.
const ANCHOR: usize = 4_096;
/// How far ahead a long stretch is searched for in both byte strings, in bytes; each only if there was none
/// in the one before.
const ANCHOR_WINDOWS: [usize; 3] = [16_384, 131_072, 1_048_576];
/// The same for any equal piece, before a long stretch.
const WINDOWS: [usize; 3] = [1_024, 16_384, 131_072];
/// The positions that a comparison may look at in windows, in all. Beyond this, the byte strings have so
/// little in common that a delta would not be worth it.
const MAX_SEARCHED: usize = 2_097_152;
/// The length of an operation without the bytes that it inserts.
const OPERATION: usize = 12;

/// Returns the delta that makes `new` out of `old`; `None` if it would be longer than half of `new`, takes
/// too long to find, or if one of them is 4 GiB or longer.
pub(super) fn between(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    if u32::try_from(old.len().max(new.len())).is_err() {
        return None;
    }
    let mut delta = Delta::new(new.len() / 2);
    let mut searched = 0;
    let (mut from, mut at) = (0, 0);
    loop {
        let copied = common_prefix(&old[from..], &new[at..]);
        delta.copy(from, copied)?;
        (from, at) = (from + copied, at + copied);
        if at == new.len() {
            return Some(delta.finish());
        }
        let (old_rest, new_rest) = (&old[from..], &new[at..]);
        let (skipped, changed) = next_anchor(old_rest, new_rest, &mut searched)?;
        changes(
            &mut delta,
            from,
            &old_rest[..skipped],
            &new_rest[..changed],
            &mut searched,
        )?;
        (from, at) = (from + skipped, at + changed);
    }
}

/// Adds the difference between the bytes before an anchor. `from` is where `old` begins.
fn changes(
    delta: &mut Delta,
    from: usize,
    old: &[u8],
    new: &[u8],
    searched: &mut usize,
) -> Option<()> {
    let (mut skipped, mut at) = (0, 0);
    while at < new.len() {
        let (old_rest, new_rest) = (&old[skipped..], &new[at..]);
        let found = next_equal(old_rest, new_rest, searched);
        let (unused, inserted) = found.unwrap_or((old_rest.len(), new_rest.len()));
        delta.insert(&new_rest[..inserted])?;
        (skipped, at) = (skipped + unused, at + inserted);
        let copied = common_prefix(&old[skipped..], &new[at..]);
        delta.copy(from + skipped, copied)?;
        (skipped, at) = (skipped + copied, at + copied);
    }
    Some(())
}

/// A delta under construction.
struct Delta {
    bytes: Vec<u8>,
    /// Its maximum length.
    limit: usize,
    /// The operation that is not yet part of it.
    from: usize,
    copied: usize,
    inserted: Vec<u8>,
}

impl Delta {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            from: 0,
            copied: 0,
            inserted: Vec::new(),
        }
    }

    /// Copies from the old bytes. Returns `None` if the delta becomes too long.
    fn copy(&mut self, from: usize, len: usize) -> Option<()> {
        if len == 0 {
            return Some(());
        }
        if self.inserted.is_empty() && self.from + self.copied == from {
            self.copied += len;
            return Some(());
        }
        self.push();
        (self.from, self.copied) = (from, len);
        (self.bytes.len() <= self.limit).then_some(())
    }

    /// Inserts new bytes. Returns `None` if the delta becomes too long.
    fn insert(&mut self, bytes: &[u8]) -> Option<()> {
        self.inserted.extend_from_slice(bytes);
        (self.bytes.len() + self.inserted.len() <= self.limit).then_some(())
    }

    fn push(&mut self) {
        for number in [self.from, self.copied, self.inserted.len()] {
            // Fits: the lengths of both byte strings do.
            self.bytes.extend_from_slice(&(number as u32).to_be_bytes());
        }
        self.bytes.append(&mut self.inserted);
    }

    fn finish(mut self) -> Vec<u8> {
        self.push();
        self.bytes
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

/// Returns where the next long stretch that both have in common begins in each, or the ends of both. Returns
/// `None` if the search takes too long.
fn next_anchor(old: &[u8], new: &[u8], searched: &mut usize) -> Option<(usize, usize)> {
    for window in ANCHOR_WINDOWS {
        let pieces = Pieces::of(&old[..window.min(old.len())]);
        let new_window = &new[..window.min(new.len())];
        *searched += pieces.bytes.len() / PIECE;
        let mut at = 0;
        while let Some((skipped, changed)) = pieces.first_in(new_window, at) {
            *searched += changed - at;
            let old_next = &old[skipped..old.len().min(skipped + ANCHOR)];
            let new_next = &new[changed..new.len().min(changed + ANCHOR)];
            let equal = common_prefix(old_next, new_next);
            let is_at_end = skipped + equal == old.len() && changed + equal == new.len();
            if equal == ANCHOR || is_at_end {
                return Some(beginning(old, new, skipped, changed));
            }
            // Another place that looks alike, or the next change is near.
            at = changed + equal;
        }
        *searched += new_window.len().saturating_sub(at);
        if *searched > MAX_SEARCHED {
            return None;
        }
    }
    Some((old.len(), new.len()))
}

/// Returns where the next stretch that both have in common begins in each. Returns `None` if there is none,
/// or if the search takes too long.
fn next_equal(old: &[u8], new: &[u8], searched: &mut usize) -> Option<(usize, usize)> {
    for window in WINDOWS {
        let old_window = &old[..window.min(old.len())];
        let new_window = &new[..window.min(new.len())];
        *searched += old_window.len() + new_window.len();
        if *searched > MAX_SEARCHED {
            return None;
        }
        let found = Pieces::of(old_window).first_in(new_window, 0);
        if let Some((skipped, inserted)) = found {
            return Some(beginning(old, new, skipped, inserted));
        }
        if old_window.len() == old.len() && new_window.len() == new.len() {
            return None;
        }
    }
    None
}

/// Returns where the equal stretch begins whose middle is at these positions.
fn beginning(old: &[u8], new: &[u8], mut old_at: usize, mut new_at: usize) -> (usize, usize) {
    while old_at > 0 && new_at > 0 && old[old_at - 1] == new[new_at - 1] {
        (old_at, new_at) = (old_at - 1, new_at - 1);
    }
    (old_at, new_at)
}

/// The pieces of a window of the old bytes, by their fingerprints.
struct Pieces<'a> {
    bytes: &'a [u8],
    /// The first piece with a fingerprint, by its number.
    numbers: HashMap<u64, usize>,
}

impl<'a> Pieces<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let (pieces, _) = bytes.as_chunks::<PIECE>();
        let mut numbers = HashMap::with_capacity(pieces.len());
        for (number, piece) in pieces.iter().enumerate() {
            numbers.entry(fingerprint(piece)).or_insert(number);
        }
        Self { bytes, numbers }
    }

    /// Returns where the first piece of `new`, from a position on, that is also one of these begins in both.
    fn first_in(&self, new: &[u8], from: usize) -> Option<(usize, usize)> {
        let (pieces, _) = self.bytes.as_chunks::<PIECE>();
        let windows = new.get(from..)?.windows(PIECE).enumerate();
        windows.into_iter().find_map(|(position, piece)| {
            let piece = piece.first_chunk()?;
            let number = *self.numbers.get(&fingerprint(piece))?;
            // The bytes decide: others may have the same fingerprint.
            (pieces.get(number)? == piece).then_some((number * PIECE, from + position))
        })
    }
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
