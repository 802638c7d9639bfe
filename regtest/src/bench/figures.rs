//! The figures of one line of a table: of each round, and their medians.

use serde::Serialize;

use super::kinds::Kind;
use super::load::Measured;
use super::meters::Reading;
use super::statistics::{Spread, median};
use super::time::ms;

/// One measurement, or the medians of several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figures {
    pub payments: f64,
    pub payments_per_second: f64,
    pub shards_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Attempts that found the channel full.
    pub retries: f64,
    /// Of each node on the route, the payer first.
    pub nodes: Vec<Usage>,
}

/// Resources that one node used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Usage {
    /// `None` if the node does not report it.
    pub commits_per_payment: Option<f64>,
    /// Bytes written per commit to store the channel manager, without channel monitors and rows; `None`
    /// if the node does not report it.
    pub manager_bytes_per_commit: Option<f64>,
    pub cpu_ms_per_payment: f64,
}

/// One line of a table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub kind: Kind,
    pub at_a_time: usize,
    pub median: Figures,
    /// In the order in which they were measured.
    pub rounds: Vec<Figures>,
}

impl Figures {
    pub(super) fn of(measured: &Measured) -> Self {
        let (payments, seconds) = (measured.payments() as f64, measured.elapsed.as_secs_f64());
        Self {
            payments,
            payments_per_second: payments / seconds,
            shards_per_second: measured.shards() as f64 / seconds,
            p50_ms: ms(measured.percentile(50)),
            p99_ms: ms(measured.percentile(99)),
            retries: measured.retries() as f64,
            nodes: measured
                .used
                .iter()
                .map(|used| Usage::of(*used, payments))
                .collect(),
        }
    }

    fn median(rounds: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| median(&rounds.iter().map(field).collect::<Vec<_>>());
        let nodes = rounds.iter().map(|round| round.nodes.len()).min();
        Self {
            payments: of(|round| round.payments),
            payments_per_second: of(|round| round.payments_per_second),
            shards_per_second: of(|round| round.shards_per_second),
            p50_ms: of(|round| round.p50_ms),
            p99_ms: of(|round| round.p99_ms),
            retries: of(|round| round.retries),
            nodes: (0..nodes.unwrap_or(0))
                .map(|node| {
                    Usage::median(&rounds.iter().map(|one| one.nodes[node]).collect::<Vec<_>>())
                })
                .collect(),
        }
    }
}

impl Usage {
    fn of(used: Reading, payments: f64) -> Self {
        let commits = used.commits.map(|commits| commits as f64);
        Self {
            commits_per_payment: commits.map(|commits| commits / payments),
            manager_bytes_per_commit: commits
                .zip(used.manager_bytes)
                .map(|(commits, bytes)| bytes as f64 / commits.max(1.0)),
            cpu_ms_per_payment: ms(used.cpu) / payments,
        }
    }

    fn median(rounds: &[Self]) -> Self {
        let of = |field: fn(&Self) -> Option<f64>| {
            let values: Option<Vec<f64>> = rounds.iter().map(field).collect();
            values.map(|values| median(&values))
        };
        Self {
            commits_per_payment: of(|round| round.commits_per_payment),
            manager_bytes_per_commit: of(|round| round.manager_bytes_per_commit),
            cpu_ms_per_payment: of(|round| Some(round.cpu_ms_per_payment)).unwrap_or_default(),
        }
    }
}

impl Line {
    pub(super) fn new(kind: Kind, at_a_time: usize, rounds: Vec<Figures>) -> Self {
        Self {
            kind,
            at_a_time,
            median: Figures::median(&rounds),
            rounds,
        }
    }

    /// One figure of each round.
    pub(super) fn each(&self, field: impl Fn(&Figures) -> f64) -> Vec<f64> {
        self.rounds.iter().map(field).collect()
    }

    /// The spread of one figure of a node; `None` if the node does not report it.
    pub(super) fn of_node(
        &self,
        node: usize,
        field: impl Fn(&Usage) -> Option<f64>,
    ) -> Option<Spread> {
        let rounds = self.rounds.iter();
        let values: Option<Vec<f64>> = rounds
            .map(|round| round.nodes.get(node).and_then(&field))
            .collect();
        Spread::of(&values?)
    }
}

/// The line of this kind and concurrency.
pub(super) fn find(lines: &[Line], kind: Kind, at_a_time: usize) -> Option<&Line> {
    let mut lines = lines.iter();
    lines.find(|line| (line.kind, line.at_a_time) == (kind, at_a_time))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Figures of two nodes, of which the second reports no commits.
    pub(in super::super) fn figures(payments_per_second: f64, p50_ms: f64) -> Figures {
        let usage = |commits_per_payment| Usage {
            commits_per_payment,
            manager_bytes_per_commit: None,
            cpu_ms_per_payment: 1.0,
        };
        Figures {
            payments: 100.0,
            payments_per_second,
            shards_per_second: payments_per_second,
            p50_ms,
            p99_ms: 2.0 * p50_ms,
            retries: 0.0,
            nodes: vec![usage(Some(p50_ms / 10.0)), usage(None)],
        }
    }

    #[test]
    fn median_is_taken_of_each_figure() {
        let rounds = vec![figures(3.0, 10.0), figures(1.0, 20.0), figures(2.0, 90.0)];
        let line = Line::new(Kind::AmpKey, 1, rounds);
        assert_eq!(line.median.payments_per_second, 2.0);
        assert_eq!(line.median.p50_ms, 20.0);
        let commits = line.median.nodes.iter();
        let commits = commits.map(|node| node.commits_per_payment);
        assert_eq!(commits.collect::<Vec<_>>(), [Some(2.0), None]);
    }

    #[test]
    fn spread_of_a_node_requires_that_it_reports_the_figure() {
        let line = Line::new(
            Kind::AmpKey,
            1,
            vec![figures(1.0, 10.0), figures(1.0, 30.0)],
        );
        let commits = |node| line.of_node(node, |used| used.commits_per_payment);
        assert_eq!(commits(0).map(|spread| spread.median), Some(2.0));
        assert_eq!((commits(1), commits(2)), (None, None));
    }

    #[test]
    fn finds_a_line_by_kind_and_concurrency() {
        let lines = [
            Line::new(Kind::AmpKey, 1, vec![]),
            Line::new(Kind::Bolt11, 64, vec![]),
        ];
        assert!(find(&lines, Kind::Bolt11, 64).is_some());
        assert!(find(&lines, Kind::Bolt11, 1).is_none());
    }
}
