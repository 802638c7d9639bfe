//! The table of payments by kind and concurrency.

use serde::Serialize;

use super::figures::{Line, Usage};
use super::kinds::Kind;

/// The results of nodes that pay each other.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// Who pays whom.
    pub title: String,
    /// What the nodes on the route run, the payer first.
    pub versions: Vec<String>,
    /// Median time to write 4 KiB and fdatasync on the disk of the nodes.
    pub disk_sync_p50_ms: f64,
    /// Number of measurements of each line; the lines have their medians.
    pub rounds: usize,
    pub lines: Vec<Line>,
    pub skipped: Vec<Skipped>,
}

/// A kind of payment that the payer does not support.
#[derive(Debug, Serialize)]
pub(super) struct Skipped {
    pub kind: Kind,
    pub why: String,
}

impl Table {
    /// Prints it. Commits and CPU time are per payment: payer + payee, with a forwarding node between.
    pub(super) fn print(&self) {
        println!("\n{}", self.title);
        println!(
            "4 KiB write and fdatasync on this disk: p50 {:.2} ms",
            self.disk_sync_p50_ms
        );
        if self.rounds > 1 {
            println!("each figure is the median of {} measurements", self.rounds);
        }
        print_head();
        self.lines.iter().for_each(print_line);
        for Skipped { kind, why } in &self.skipped {
            println!(
                "{:<24} skipped: not supported by this node: {why}",
                kind.title()
            );
        }
    }
}

fn print_head() {
    println!(
        "\n{:<24} {:>4} {:>8} {:>8} {:>8} {:>8} {:>8}  {:>14}  {:>14} {:>6}",
        "", "at", "", "", "", "", "", "commits for", "CPU ms for", ""
    );
    println!(
        "{:<24} {:>4} {:>8} {:>8} {:>8} {:>8} {:>8}  {:>14}  {:>14} {:>6}",
        "payments by",
        "once",
        "payments",
        "paym./s",
        "shards/s",
        "p50 ms",
        "p99 ms",
        "each paym.",
        "each paym.",
        "again"
    );
}

fn print_line(line: &Line) {
    let figures = &line.median;
    println!(
        "{:<24} {:>4} {:>8} {:>8.1} {:>8.1} {:>8.1} {:>8.1}  {:>14}  {:>14} {:>6}",
        line.kind.title(),
        line.at_a_time,
        figures.payments,
        figures.payments_per_second,
        figures.shards_per_second,
        figures.p50_ms,
        figures.p99_ms,
        of_each_node(&figures.nodes, |node| node.commits_per_payment),
        of_each_node(&figures.nodes, |node| Some(node.cpu_ms_per_payment)),
        figures.retries,
    );
}

/// One figure of each node; lnd does not report all.
fn of_each_node(nodes: &[Usage], figure: fn(&Usage) -> Option<f64>) -> String {
    let all: Vec<Option<f64>> = nodes.iter().map(figure).collect();
    if all.iter().all(Option::is_none) {
        return "-".to_owned();
    }
    let texts = all.into_iter().map(|one| match one {
        Some(figure) => format!("{figure:.2}"),
        None => "-".to_owned(),
    });
    texts.collect::<Vec<_>>().join("+")
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::figures;
    use super::*;

    #[test]
    fn prints_what_the_nodes_report() {
        let figures = figures(100.0, 8.0);
        let commits = |nodes: &[Usage]| of_each_node(nodes, |node| node.commits_per_payment);
        assert_eq!(commits(&figures.nodes), "0.80+-");
        assert_eq!(commits(&figures.nodes[1..]), "-");
        let cpu = of_each_node(&figures.nodes, |node| Some(node.cpu_ms_per_payment));
        assert_eq!(cpu, "1.00+1.00");
    }
}
