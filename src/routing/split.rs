//! Splits an amount across paths as lnd does, where LDK's router does not.
//!
//! LDK finds all paths for an amount at once, which is better than lnd's one at a time: no part is sent of
//! a payment that cannot complete. But LDK fills one path after another, so the last one may get very
//! little, and it has no maximum part size. Where that matters, one path at a time is requested as in lnd:
//! first for the largest allowed part, then for half of it, and so on.

use lightning::routing::router::Path;

use super::query::{MIN_PART_MSAT, NoRoute};

/// An amount to split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole {
    pub amount_msat: u64,
    /// The maximum number of paths.
    pub parts: u32,
    /// The maximum amount per path in msat; 0 for no limit.
    pub max_part_msat: u64,
}

/// Finds paths for the whole amount, or a single path for a part that leaves no more than the remaining
/// parts can carry. `search` finds paths for an amount in msat with a maximum number of parts.
///
/// # Errors
/// The error of the search for the largest part.
pub(super) fn split(
    whole: Whole,
    mut search: impl FnMut(u64, u32) -> Result<Vec<Path>, NoRoute>,
) -> Result<Vec<Path>, NoRoute> {
    let amount = whole.amount_msat;
    if whole.largest_part() < amount {
        return one_path(whole, whole.largest_part(), &mut search);
    }
    let paths = search(amount, whole.parts)?;
    if !has_tiny_part(&paths) {
        return Ok(paths);
    }
    Ok(one_path(whole, amount / 2, &mut search).unwrap_or(paths))
}

/// Finds all paths for the whole amount one after another, each for as much as one path can carry. Used
/// after a failed attempt, when a path that could not carry the whole may carry half.
///
/// `search` finds a path for an amount in msat in addition to the paths found before.
///
/// # Errors
/// [`NoRoute::NoPath`] if no path carries the remainder; then nothing should be sent.
pub(super) fn in_pieces(
    whole: Whole,
    mut search: impl FnMut(u64, &[Path]) -> Result<Path, NoRoute>,
) -> Result<Vec<Path>, NoRoute> {
    let mut found = Vec::new();
    let mut rest = whole;
    while rest.amount_msat > 0 && rest.parts > 0 {
        let mut sizes =
            std::iter::once(rest.largest_part()).chain(rest.halves_of(rest.largest_part()));
        let path = sizes.find_map(|size| search(size, &found).ok());
        let path = path.ok_or(NoRoute::NoPath)?;
        rest.amount_msat = rest.amount_msat.saturating_sub(path.final_value_msat());
        rest.parts -= 1;
        found.push(path);
    }
    match rest.amount_msat {
        0 => Ok(found),
        _ => Err(NoRoute::NoPath),
    }
}

impl Whole {
    fn largest_part(&self) -> u64 {
        match self.max_part_msat {
            0 => self.amount_msat,
            most => most.min(self.amount_msat),
        }
    }

    /// Returns a half, a quarter and so on of `size`, while the other parts can carry the rest.
    fn halves_of(self, size: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(size / 2), |size| Some(size / 2))
            .take_while(move |size| *size >= MIN_PART_MSAT && self.rest_fits(*size))
    }

    /// Returns whether the other parts can carry the rest.
    fn rest_fits(&self, part: u64) -> bool {
        let rest = self.amount_msat.saturating_sub(part);
        let others = u64::from(self.parts.saturating_sub(1));
        match (rest, others) {
            (0, _) => true,
            (_, 0) => false,
            (rest, others) => self.largest_part().saturating_mul(others) >= rest,
        }
    }
}

/// Finds one path for `size`, or for a half, a quarter and so on of it.
fn one_path(
    whole: Whole,
    size: u64,
    search: &mut impl FnMut(u64, u32) -> Result<Vec<Path>, NoRoute>,
) -> Result<Vec<Path>, NoRoute> {
    let first = search(size, 1);
    match first {
        Err(NoRoute::NoPath | NoRoute::ChannelsFull) => {
            let mut found = whole.halves_of(size).map(|size| search(size, 1));
            found.find(Result::is_ok).unwrap_or(first)
        }
        first => first,
    }
}

/// Returns whether the amount is split and one part is below the minimum.
fn has_tiny_part(paths: &[Path]) -> bool {
    let mut values = paths.iter().map(Path::final_value_msat);
    paths.len() > 1 && values.any(|value| value < MIN_PART_MSAT)
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
    use lightning::routing::router::RouteHop;
    use lightning::types::features::{ChannelFeatures, NodeFeatures};

    use super::*;

    const SAT: u64 = 1_000;

    fn path(amount_msat: u64) -> Path {
        let secret = SecretKey::from_slice(&[1; 32]).unwrap();
        let hop = RouteHop {
            pubkey: PublicKey::from_secret_key(&Secp256k1::new(), &secret),
            node_features: NodeFeatures::empty(),
            short_channel_id: 1,
            channel_features: ChannelFeatures::empty(),
            fee_msat: amount_msat,
            cltv_expiry_delta: 80,
            maybe_announced_channel: true,
        };
        Path {
            hops: vec![hop],
            blinded_tail: None,
        }
    }

    fn whole(amount_sat: u64, parts: u32, max_part_sat: u64) -> Whole {
        Whole {
            amount_msat: amount_sat * SAT,
            parts,
            max_part_msat: max_part_sat * SAT,
        }
    }

    /// Part sizes in sat.
    type Parts = Result<Vec<u64>, NoRoute>;
    /// Searched amounts in sat with the maximum number of parts.
    type Asked = Vec<(u64, u32)>;

    /// Returns the parts and the searches made, if LDK finds `found` for the whole and single paths of
    /// up to `max_sat`.
    fn outcome(whole: Whole, found: &[u64], max_sat: u64) -> (Parts, Asked) {
        let mut asked = Vec::new();
        let result = split(whole, |amount, parts| {
            asked.push((amount / SAT, parts));
            if parts > 1 && !found.is_empty() {
                return Ok(found.iter().map(|sat| path(sat * SAT)).collect());
            }
            let fits = amount <= max_sat * SAT;
            fits.then(|| vec![path(amount)]).ok_or(NoRoute::NoPath)
        });
        let parts = result.map(|paths| {
            let values = paths.iter().map(Path::final_value_msat);
            values.map(|msat| msat / SAT).collect()
        });
        (parts, asked)
    }

    #[test]
    fn ldks_paths_are_used_if_none_is_too_small() {
        let (parts, asked) = outcome(whole(250_000, 16, 0), &[100_000, 150_000], 0);
        assert_eq!(parts, Ok(vec![100_000, 150_000]));
        assert_eq!(asked, [(250_000, 16)]);
        let (parts, _) = outcome(whole(5_000, 1, 0), &[], 5_000);
        assert_eq!(parts, Ok(vec![5_000]), "an unsplit amount may be small");
    }

    #[test]
    fn half_the_amount_is_sent_first_if_a_part_would_be_too_small() {
        let found = [100_000, 100_000, 1];
        let (parts, asked) = outcome(whole(200_001, 16, 0), &found, 100_000);
        assert_eq!(parts, Ok(vec![50_000]));
        assert_eq!(asked, [(200_001, 16), (100_000, 1), (50_000, 1)]);
        let (parts, _) = outcome(whole(200_001, 16, 0), &found, 0);
        assert_eq!(
            parts,
            Ok(found.to_vec()),
            "a tiny part is better than no route"
        );
    }

    #[test]
    fn maximum_part_size_is_respected() {
        let (parts, asked) = outcome(whole(100_000, 4, 30_000), &[], 30_000);
        assert_eq!((parts, asked), (Ok(vec![30_000]), vec![(30_000, 1)]));
        let (parts, asked) = outcome(whole(30_000, 4, 30_000), &[20_000, 10_000], 0);
        assert_eq!(parts, Ok(vec![20_000, 10_000]));
        assert_eq!(asked, [(30_000, 4)]);
    }

    #[test]
    fn part_size_is_halved_while_the_other_parts_can_carry_the_rest() {
        let (parts, _) = outcome(whole(100_000, 16, 80_000), &[], 25_000);
        assert_eq!(parts, Ok(vec![20_000]));
        let (parts, asked) = outcome(whole(100_000, 4, 30_000), &[], 20_000);
        assert_eq!(parts, Ok(vec![15_000]));
        assert_eq!(asked, [(30_000, 1), (15_000, 1)]);
        let (parts, asked) = outcome(whole(100_000, 4, 26_000), &[], 20_000);
        assert_eq!(
            parts,
            Err(NoRoute::NoPath),
            "three parts of 26,000 cannot carry the rest"
        );
        assert_eq!(asked, [(26_000, 1)]);
        let (parts, asked) = outcome(whole(100_000, 16, 30_000), &[], 9_000);
        assert_eq!(parts, Err(NoRoute::NoPath), "never below the minimum");
        assert_eq!(asked.last(), Some(&(15_000, 1)));
    }

    #[test]
    fn in_pieces_uses_the_largest_parts_that_one_path_carries() {
        let found = |whole, max_sat: u64| {
            let paths = in_pieces(whole, |amount, _| {
                let fits = amount <= max_sat * SAT;
                fits.then(|| path(amount)).ok_or(NoRoute::NoPath)
            });
            paths.map(|paths| {
                let values = paths.iter().map(Path::final_value_msat);
                values.map(|msat| msat / SAT).collect::<Vec<_>>()
            })
        };
        assert_eq!(found(whole(100_000, 16, 0), 100_000), Ok(vec![100_000]));
        assert_eq!(found(whole(100_000, 16, 0), 60_000), Ok(vec![50_000; 2]));
        assert_eq!(
            found(whole(100_000, 16, 40_000), 60_000),
            Ok(vec![40_000, 40_000, 20_000])
        );
        assert_eq!(
            found(whole(100_000, 2, 0), 30_000),
            Err(NoRoute::NoPath),
            "too few parts"
        );
        assert_eq!(
            found(whole(100_000, 16, 0), 9_999),
            Err(NoRoute::NoPath),
            "too small"
        );
    }

    #[test]
    fn in_pieces_accounts_for_paths_found_before() {
        let mut left = 70_000 * SAT;
        let paths = in_pieces(whole(100_000, 16, 0), |amount, taken| {
            let used: u64 = taken.iter().map(Path::final_value_msat).sum();
            let fits = amount <= left - used;
            fits.then(|| path(amount)).ok_or(NoRoute::NoPath)
        });
        assert_eq!(paths, Err(NoRoute::NoPath), "the rest has no path");
        left = 100_000 * SAT;
        assert!(
            in_pieces(whole(100_000, 16, 0), |amount, _| Ok(path(
                amount.min(left)
            )))
            .is_ok()
        );
    }
}
