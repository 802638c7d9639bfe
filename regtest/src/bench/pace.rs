//! The figures of payments at a steady rate to the donation page's invoice, and their table.

use serde::Serialize;

use super::statistics::{Spread, median};
use super::targets::{self, Verdict};

/// Payments per second.
pub(super) const RATE: u32 = 50;
/// Number of open pages.
pub(super) const STREAMS: usize = 1_000;

/// Result of one measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Pace {
    /// Payments per second that completed.
    pub payments_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// The measurements without and with open pages, taken in turn.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Paces {
    pub without: Vec<Pace>,
    pub with_open_pages: Vec<Pace>,
}

impl Paces {
    /// Compares with the target, by the ratio of each pair of measurements.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let ratio = |of: fn(&Pace) -> f64| {
            let values = |paces: &[Pace]| paces.iter().map(of).collect::<Vec<_>>();
            Spread::of_ratios(&values(&self.with_open_pages), &values(&self.without))
        };
        let judged = [
            (
                "time per payment",
                ratio(|pace| 1.0 / pace.payments_per_second),
            ),
            ("p50", ratio(|pace| pace.p50_ms)),
            ("p99", ratio(|pace| pace.p99_ms)),
        ];
        let judged = judged.into_iter();
        judged
            .filter_map(|(what, ratio)| Some(targets::OPEN_PAGES.judge_one(what, ratio?)))
            .collect()
    }

    /// Prints the medians.
    pub(super) fn print(&self) {
        println!("\nPayments to the donation page's invoice, {RATE} per second, medians:\n");
        println!(
            "{:>10} {:>9} {:>9} {:>9}",
            "open pages", "paym./s", "p50 ms", "p99 ms"
        );
        for (streams, paces) in [(0, &self.without), (STREAMS, &self.with_open_pages)] {
            let pace = medians(paces);
            println!(
                "{streams:>10} {:>9.1} {:>9.1} {:>9.1}",
                pace.payments_per_second, pace.p50_ms, pace.p99_ms
            );
        }
    }
}

/// Takes the median of each figure independently.
fn medians(paces: &[Pace]) -> Pace {
    let of = |figure: fn(&Pace) -> f64| median(&paces.iter().map(figure).collect::<Vec<_>>());
    Pace {
        payments_per_second: of(|pace| pace.payments_per_second),
        p50_ms: of(|pace| pace.p50_ms),
        p99_ms: of(|pace| pace.p99_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(payments_per_second: f64, p50_ms: f64) -> Pace {
        Pace {
            payments_per_second,
            p50_ms,
            p99_ms: 1_000.0,
        }
    }

    #[test]
    fn takes_the_median_of_each_figure() {
        let found = medians(&[pace(3.0, 1.0), pace(1.0, 2.0), pace(2.0, 9.0)]);
        assert_eq!((found.payments_per_second, found.p50_ms), (2.0, 2.0));
    }

    #[test]
    fn slower_payments_with_open_pages_are_above_one() {
        let paces = Paces {
            without: vec![pace(50.0, 10.0)],
            with_open_pages: vec![pace(25.0, 15.0)],
        };
        let verdicts = paces.verdicts().into_iter();
        let medians =
            verdicts.map(|verdict| serde_json::to_value(verdict).unwrap()["median"].as_f64());
        assert_eq!(
            medians.collect::<Vec<_>>(),
            [Some(2.0), Some(1.5), Some(1.0)]
        );
    }
}
