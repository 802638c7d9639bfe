//! Ratios of the lines that two tables have in common.

use serde::Serialize;

use super::figures::{Line, find};
use super::kinds::Kind;
use super::statistics::Spread;

/// How many times better one performs than the other, from the ratio of each round; below 1 it performs
/// worse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Ratio {
    pub kind: Kind,
    pub at_a_time: usize,
    /// Payments per second divided by those of the other.
    pub payments_per_second: Spread,
    /// Median latency of the other divided by its own.
    pub p50: Spread,
}

/// The ratios of all lines present in both.
pub(super) fn ratios(ours: &[Line], theirs: &[Line]) -> Vec<Ratio> {
    ours.iter()
        .filter_map(|line| ratio(line, find(theirs, line.kind, line.at_a_time)?))
        .collect()
}

fn ratio(ours: &Line, theirs: &Line) -> Option<Ratio> {
    let rates = [ours, theirs].map(|line| line.each(|round| round.payments_per_second));
    let p50s = [ours, theirs].map(|line| line.each(|round| round.p50_ms));
    Some(Ratio {
        kind: ours.kind,
        at_a_time: ours.at_a_time,
        payments_per_second: Spread::of_ratios(&rates[0], &rates[1])?,
        p50: Spread::of_ratios(&p50s[1], &p50s[0])?,
    })
}

/// Prints them under a title that says what is compared with what.
pub(super) fn print(title: &str, ratios: &[Ratio]) {
    println!("\n{title}: median of the ratios (range); above 1 the first is better");
    println!(
        "{:<24} {:>4}  {:>22}  {:>22}",
        "payments by", "once", "payments/s", "p50"
    );
    for line in ratios {
        println!(
            "{:<24} {:>4}  {:>22}  {:>22}",
            line.kind.title(),
            line.at_a_time,
            line.payments_per_second,
            line.p50
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::figures;
    use super::*;

    fn line(kind: Kind, at_a_time: usize, rounds: &[(f64, f64)]) -> Line {
        let rounds = rounds.iter().map(|(rate, p50)| figures(*rate, *p50));
        Line::new(kind, at_a_time, rounds.collect())
    }

    #[test]
    fn ratios_above_one_are_better() {
        let ours = [line(Kind::AmpKey, 64, &[(300.0, 20.0), (200.0, 40.0)])];
        let theirs = [line(Kind::AmpKey, 64, &[(60.0, 160.0), (50.0, 160.0)])];
        let found = ratios(&ours, &theirs);
        let expected = Ratio {
            kind: Kind::AmpKey,
            at_a_time: 64,
            payments_per_second: Spread {
                median: 4.5,
                min: 4.0,
                max: 5.0,
            },
            p50: Spread {
                median: 6.0,
                min: 4.0,
                max: 8.0,
            },
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn compares_only_lines_of_the_same_kind_and_concurrency() {
        let ours = [
            line(Kind::AmpKey, 1, &[(100.0, 10.0)]),
            line(Kind::AmpKey, 483, &[(100.0, 10.0)]),
            line(Kind::Bolt11, 64, &[(100.0, 10.0)]),
        ];
        let theirs = [
            line(Kind::Bolt11, 64, &[(50.0, 10.0)]),
            line(Kind::Bolt11, 1, &[(1.0, 10.0)]),
            line(Kind::AmpKey, 1, &[(10.0, 10.0)]),
        ];
        let found = ratios(&ours, &theirs);
        let found: Vec<_> = found
            .iter()
            .map(|line| (line.kind, line.payments_per_second.median))
            .collect();
        assert_eq!(found, [(Kind::AmpKey, 10.0), (Kind::Bolt11, 2.0)]);
    }
}
