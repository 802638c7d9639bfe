//! Medians and ranges of repeated measurements.

use std::fmt;

use serde::Serialize;

/// The median of repeated measurements and their range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Returns `None` if there are no values.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let min = values.iter().copied().min_by(f64::total_cmp)?;
        let max = values.iter().copied().max_by(f64::total_cmp)?;
        let median = median(values);
        Some(Self { median, min, max })
    }

    /// The ratios of two series of measurements, of which those with the same index were taken one
    /// after the other.
    pub(super) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
        Self::of(&ratios.collect::<Vec<_>>())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        f.pad(&format!("{median:.2} ({min:.2} to {max:.2})"))
    }
}

/// Returns the median, which is the mean of the two values in the middle if their number is even; 0 if
/// there are no values.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => 0.0,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(values[middle - 1], *upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), 3.0);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine was twice as fast in the second round, which the ratios do not show.
        let found = Spread::of_ratios(&[10.0, 22.0, 9.0], &[10.0, 20.0, 10.0]);
        let expected = Spread {
            median: 1.0,
            min: 0.9,
            max: 1.1,
        };
        assert_eq!(found, Some(expected));
        assert_eq!(Spread::of_ratios(&[], &[1.0]), None);
    }

    #[test]
    fn displays_the_median_before_the_range() {
        let spread = Spread::of(&[1.0, 2.0, 4.0]);
        assert_eq!(
            spread.map(|spread| spread.to_string()).as_deref(),
            Some("2.00 (1.00 to 4.00)")
        );
    }
}
