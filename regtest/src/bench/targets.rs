//! The targets of all modes of the benchmark, and the table that compares medians with them.
//!
//! A missed target is reported but is not an error: absolute figures depend on the machine.

use serde::Serialize;

use super::statistics::Spread;

/// Payments in flight of the targets for concurrent payments.
pub(super) const AT_A_TIME: usize = 64;

/// What a median is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

/// A named target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    name: &'static str,
    bound: Bound,
}

const fn at_least(name: &'static str, limit: f64) -> Target {
    let bound = Bound::AtLeast(limit);
    Target { name, bound }
}

const fn at_most(name: &'static str, limit: f64) -> Target {
    let bound = Bound::AtMost(limit);
    Target { name, bound }
}

const fn below(name: &'static str, limit: f64) -> Target {
    let bound = Bound::Below(limit);
    Target { name, bound }
}

// Two ampd with one channel.
pub(super) const RATE: Target = at_least("AMP to a key, 64 at once: payments/s", 360.0);
pub(super) const LATENCY: Target = below("AMP to a key, one at a time: p50 ms", 7.0);
pub(super) const COMMITS: Target = at_most("AMP to a key, one at a time: commits per payment", 4.0);
pub(super) const COMMITS_AT_ONCE: Target =
    at_most("AMP to a key, 64 at once: commits per payment", 0.1);
pub(super) const AMP_BY_BOLT11: Target =
    at_least("AMP to a key / BOLT 11, 64 at once: payments/s", 1.0);
pub(super) const STATIC_BY_AMP: Target = at_least(
    "one static invoice / AMP to a key, 64 at once: payments/s",
    1.0,
);
pub(super) const SHARDS_BY_AMP: Target = at_least(
    "AMP in four shards, shards/s / AMP to a key, payments/s, 64 at once",
    1.0,
);
pub(super) const STATIC_LATENCY: Target =
    at_most("one static invoice, last payments / first: p50", 1.05);

// --against lnd
pub(super) const RATE_BY_LND: Target =
    at_least("AMP to a key, 64 at once: payments/s, ampd / lnd", 8.0);
pub(super) const LND_LATENCY: Target =
    at_least("AMP to a key, one at a time: p50, lnd / ampd", 5.0);

// --channels
pub(super) const RATE_OF_MANY: Target = at_least(
    "AMP to a key, 64 at once: payments/s, many channels / one",
    0.7,
);
pub(super) const LATENCY_OF_MANY: Target =
    at_most("AMP to a key, one at a time: p50, many channels / one", 2.0);
pub(super) const BYTES_OF_MANY: Target = at_most(
    "AMP to a key, many channels: manager bytes per commit of the payer",
    65_536.0,
);

// --soak
pub(super) const STEADY_RATE: Target = at_least(
    "AMP to a key, 64 at once: payments/s, last minute / first",
    0.97,
);

// --cold-start
pub(super) const START_MS: Target = below("start with many payments: ms to GetInfo", 300.0);
pub(super) const START_MB: Target = below("start with many payments: RSS in MB", 250.0);
pub(super) const START_OF_MANY_MS: Target =
    below("start with many channels: ms to GetInfo", 5_000.0);

// --donations
pub(super) const OPEN_PAGES: Target = at_most("with 1,000 open pages / with none", 1.1);

/// A median compared with its target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    name: String,
    #[serde(flatten)]
    value: Spread,
    target: String,
    is_met: bool,
}

impl Target {
    pub(super) fn judge(self, value: Spread) -> Verdict {
        let (is_met, sign, limit) = match self.bound {
            Bound::AtLeast(limit) => (value.median >= limit, ">=", limit),
            Bound::AtMost(limit) => (value.median <= limit, "<=", limit),
            Bound::Below(limit) => (value.median < limit, "<", limit),
        };
        Verdict {
            name: self.name.to_owned(),
            value,
            target: format!("{sign} {limit}"),
            is_met,
        }
    }

    /// Judges one of several values with the same target, which `what` tells apart.
    pub(super) fn judge_one(self, what: &str, value: Spread) -> Verdict {
        let mut verdict = self.judge(value);
        verdict.name = format!("{}, {what}", verdict.name);
        verdict
    }
}

/// Prints the table, if there are any.
pub(super) fn print(verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    println!(
        "\n{:<70} {:>28} {:>8}",
        "target", "median (range)", "target"
    );
    for verdict in verdicts {
        let word = if verdict.is_met { "met" } else { "MISSED" };
        println!(
            "{:<70} {:>28} {:>8}  {word}",
            verdict.name, verdict.value, verdict.target
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_met(target: Target, median: f64) -> bool {
        let spread = Spread {
            median,
            min: 0.0,
            max: 1e9,
        };
        target.judge(spread).is_met
    }

    #[test]
    fn only_the_median_decides() {
        assert!(is_met(at_least("", 2.0), 2.0) && !is_met(at_least("", 2.0), 1.9));
        assert!(is_met(at_most("", 2.0), 2.0) && !is_met(at_most("", 2.0), 2.1));
        assert!(is_met(below("", 2.0), 1.9) && !is_met(below("", 2.0), 2.0));
    }

    #[test]
    fn verdict_names_the_bound_and_what_was_measured() {
        let spread = Spread {
            median: 0.05,
            min: 0.04,
            max: 0.06,
        };
        let verdict = COMMITS_AT_ONCE.judge_one("payer", spread);
        let json = serde_json::to_value(verdict).unwrap();
        let expected = serde_json::json!({
            "name": "AMP to a key, 64 at once: commits per payment, payer",
            "median": 0.05,
            "min": 0.04,
            "max": 0.06,
            "target": "<= 0.1",
            "is_met": true,
        });
        assert_eq!(json, expected);
    }
}
