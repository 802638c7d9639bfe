//! Splits an amount over paths as lnd does, as far as LDK's router does not do so by itself.
//!
//! LDK finds all paths of an amount at once, which is better than lnd's one after the other: nothing
//! is sent that cannot be completed. But it fills way after way, so that little may be left for the
//! last one, and it knows no largest part. Where that matters one path at a time is asked for, as lnd
//! does: for the most that one may carry, then for half of it, and so on.

use lightning::routing::router::Path;

use super::query::{MIN_PART_MSAT, NoRoute};

/// What is to be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    pub amount_msat: u64,
    /// The most paths.
    pub parts: u32,
    /// The most that one path may carry, msat; 0: no limit.
    pub max_part_msat: u64,
}

/// Paths that carry the whole, or one that carries a part of it such that the others can carry the
/// rest. `search` finds paths for an amount (msat) in so many parts at most.
///
/// # Errors
/// Why there are none, of the search for the largest part.
pub fn split(
    whole: Whole,
    mut search: impl FnMut(u64, u32) -> Result<Vec<Path>, NoRoute>,
) -> Result<Vec<Path>, NoRoute> {
    let amount = whole.amount_msat;
    if whole.largest_part() < amount {
        return one_path(whole, whole.largest_part(), &mut search);
    }
    let paths = search(amount, whole.parts)?;
    if !has_crumbs(&paths) {
        return Ok(paths);
    }
    Ok(one_path(whole, amount / 2, &mut search).unwrap_or(paths))
}

impl Whole {
    fn largest_part(&self) -> u64 {
        match self.max_part_msat {
            0 => self.amount_msat,
            most => most.min(self.amount_msat),
        }
    }

    /// Whether the other parts can carry what this one leaves.
    fn leaves_no_more_than_fits(&self, part: u64) -> bool {
        let rest = self.amount_msat.saturating_sub(part);
        let others = u64::from(self.parts.saturating_sub(1));
        match (rest, others) {
            (0, _) => true,
            (_, 0) => false,
            (rest, others) => self.largest_part().saturating_mul(others) >= rest,
        }
    }
}

/// One path for `size`, or for a half, a quarter, ... of it.
fn one_path(
    whole: Whole,
    size: u64,
    search: &mut impl FnMut(u64, u32) -> Result<Vec<Path>, NoRoute>,
) -> Result<Vec<Path>, NoRoute> {
    let first = search(size, 1);
    let halves = std::iter::successors(Some(size / 2), |size| Some(size / 2));
    let sizes =
        halves.take_while(|size| *size >= MIN_PART_MSAT && whole.leaves_no_more_than_fits(*size));
    match first {
        Err(NoRoute::NoPath) => {
            let mut found = sizes.map(|size| search(size, 1));
            found.find(Result::is_ok).unwrap_or(Err(NoRoute::NoPath))
        }
        first => first,
    }
}

/// Whether a part is too small though there are others.
fn has_crumbs(paths: &[Path]) -> bool {
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

    /// In sat.
    type Parts = Result<Vec<u64>, NoRoute>;
    /// Amounts in sat, and the most parts.
    type Asked = Vec<(u64, u32)>;

    /// What comes out if LDK finds these parts for the whole and single paths up to `way` sat; and
    /// what was searched for.
    fn outcome(whole: Whole, found: &[u64], way: u64) -> (Parts, Asked) {
        let mut asked = Vec::new();
        let result = split(whole, |amount, parts| {
            asked.push((amount / SAT, parts));
            if parts > 1 && !found.is_empty() {
                return Ok(found.iter().map(|sat| path(sat * SAT)).collect());
            }
            let fits = amount <= way * SAT;
            fits.then(|| vec![path(amount)]).ok_or(NoRoute::NoPath)
        });
        let parts = result.map(|paths| {
            let values = paths.iter().map(Path::final_value_msat);
            values.map(|msat| msat / SAT).collect()
        });
        (parts, asked)
    }

    #[test]
    fn what_ldk_finds_at_once_is_taken() {
        let (parts, asked) = outcome(whole(250_000, 16, 0), &[100_000, 150_000], 0);
        assert_eq!(parts, Ok(vec![100_000, 150_000]));
        assert_eq!(asked, [(250_000, 16)]);
        let (parts, _) = outcome(whole(5_000, 1, 0), &[], 5_000);
        assert_eq!(parts, Ok(vec![5_000]), "a small whole is no crumb");
    }

    #[test]
    fn instead_of_a_crumb_half_the_amount_is_sent_first() {
        let found = [100_000, 100_000, 1];
        let (parts, asked) = outcome(whole(200_001, 16, 0), &found, 100_000);
        assert_eq!(parts, Ok(vec![50_000]));
        assert_eq!(asked, [(200_001, 16), (100_000, 1), (50_000, 1)]);
        let (parts, _) = outcome(whole(200_001, 16, 0), &found, 0);
        assert_eq!(parts, Ok(found.to_vec()), "better than nothing");
    }

    #[test]
    fn no_part_is_above_the_largest() {
        let (parts, asked) = outcome(whole(100_000, 4, 30_000), &[], 30_000);
        assert_eq!((parts, asked), (Ok(vec![30_000]), vec![(30_000, 1)]));
        let (parts, asked) = outcome(whole(30_000, 4, 30_000), &[20_000, 10_000], 0);
        assert_eq!(parts, Ok(vec![20_000, 10_000]));
        assert_eq!(asked, [(30_000, 4)]);
    }

    #[test]
    fn largest_parts_are_halved_as_long_as_the_others_carry_the_rest() {
        let (parts, _) = outcome(whole(100_000, 16, 80_000), &[], 25_000);
        assert_eq!(parts, Ok(vec![20_000]));
        let (parts, asked) = outcome(whole(100_000, 4, 30_000), &[], 20_000);
        assert_eq!(parts, Ok(vec![15_000]));
        assert_eq!(asked, [(30_000, 1), (15_000, 1)]);
        let (parts, asked) = outcome(whole(100_000, 4, 26_000), &[], 20_000);
        assert_eq!(
            parts,
            Err(NoRoute::NoPath),
            "three times 26,000 are too little"
        );
        assert_eq!(asked, [(26_000, 1)]);
        let (parts, asked) = outcome(whole(100_000, 16, 30_000), &[], 9_000);
        assert_eq!(parts, Err(NoRoute::NoPath), "never below the least");
        assert_eq!(asked.last(), Some(&(15_000, 1)));
    }
}
