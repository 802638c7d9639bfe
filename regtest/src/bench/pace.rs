//! The figures of payments at a steady rate to the donation page's invoice, and their table.

use std::time::Duration;

use super::table::ms;

/// Payments per second.
pub(super) const RATE: u32 = 50;
/// Number of open pages.
pub(super) const STREAMS: usize = 1_000;
/// Target: slowdown of payments to a donation page with [`STREAMS`] open pages.
const MAX_SLOWDOWN: f64 = 1.1;

/// Result of one measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Payments per second that completed.
    pub rate: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// Takes the median of each figure independently.
pub(super) fn median(paces: &[Pace]) -> Pace {
    let middle = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    let seconds = |of: fn(&Pace) -> Duration| {
        Duration::from_secs_f64(middle(
            paces.iter().map(|pace| of(pace).as_secs_f64()).collect(),
        ))
    };
    Pace {
        rate: middle(paces.iter().map(|pace| pace.rate).collect()),
        p50: seconds(|pace| pace.p50),
        p99: seconds(|pace| pace.p99),
    }
}

/// Prints the header of the donation page's table.
pub(super) fn print_head() {
    println!("Payments to the donation page's invoice, {RATE} per second:\n");
    println!(
        "{:>10} {:>9} {:>9} {:>9}",
        "open pages", "paym./s", "p50 ms", "p99 ms"
    );
}

/// Prints one line of the donation page's table.
pub(super) fn print_line(streams: usize, pace: &Pace) {
    println!(
        "{streams:>10} {:>9.1} {:>9.1} {:>9.1}",
        pace.rate,
        ms(pace.p50),
        ms(pace.p99)
    );
}

/// Prints the slowdown of payments by open pages, from the medians of all lines.
pub(super) fn print_slowdown(without: &Pace, with: &Pace) {
    let slower = [
        ("payments per second", without.rate / with.rate),
        ("p50", with.p50.as_secs_f64() / without.p50.as_secs_f64()),
        ("p99", with.p99.as_secs_f64() / without.p99.as_secs_f64()),
    ];
    println!(
        "\nSlowdown with {STREAMS} open pages, from the medians (target: at most {MAX_SLOWDOWN}):"
    );
    for (what, ratio) in slower {
        let verdict = if ratio <= MAX_SLOWDOWN {
            "reached"
        } else {
            "MISSED"
        };
        println!("  {what}: {ratio:.3} times slower, {verdict}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_median_of_each_figure() {
        let pace = |rate, p50| Pace {
            rate,
            p50: Duration::from_millis(p50),
            p99: Duration::from_secs(1),
        };
        let found = median(&[pace(3.0, 1), pace(1.0, 2), pace(2.0, 9)]);
        assert_eq!((found.rate, found.p50), (2.0, Duration::from_millis(2)));
    }
}
