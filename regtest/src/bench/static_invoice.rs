//! Pays one static invoice thousands of times: the last payments must cost no more than the first.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::figures::Figures;
use super::kinds::{Requests, static_invoice, to_static_invoice};
use super::load::{Cell, Limit, measure};
use super::report::Report;
use super::rounds::IDLE_TIME;
use super::statistics::Spread;
use super::targets::{self, AT_A_TIME};
use super::{Bench, SETTLE_LIMIT};

/// Number of payments compared at each end: this many sequentially for the latency and as many
/// concurrently for the rate. The node is idle before both.
const COMPARED: usize = 500;
/// Only the number of payments ends a measurement.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3_600);

/// The payments to one invoice.
#[derive(Debug, Serialize)]
struct Course {
    payments: f64,
    first: Ends,
    between: Figures,
    last: Ends,
}

/// The compared payments, the first or the last.
#[derive(Debug, Serialize)]
struct Ends {
    sequential: Figures,
    concurrent: Figures,
}

/// Pays `payments` times, at least [`COMPARED`] in each part, and prints the comparison.
pub(super) async fn run(bench: &Bench, payments: usize, report: &mut Report) -> Result<()> {
    let invoice = static_invoice(bench).await?;
    let between = payments.saturating_sub(4 * COMPARED).max(1);
    let first = ends(bench, &invoice).await?;
    let between = pay(bench, &invoice, between, AT_A_TIME).await?;
    // Otherwise the last payments would be slowed by those just before them, which are still in the
    // channel manager.
    tokio::time::sleep(IDLE_TIME).await;
    let last = ends(bench, &invoice).await?;
    let counted = [&first, &last].map(|ends| ends.sequential.payments + ends.concurrent.payments);
    let course = Course {
        payments: counted.iter().sum::<f64>() + between.payments,
        first,
        between,
        last,
    };
    course.print();
    report.add("static-invoice", &course)?;
    let (first, last) = (&course.first.sequential, &course.last.sequential);
    let ratio = Spread::of_ratios(&[last.p50_ms], &[first.p50_ms]);
    let what = format!("of {} payments", course.payments);
    report.judge(ratio.map(|ratio| targets::STATIC_LATENCY.judge_one(&what, ratio)));
    Ok(())
}

async fn ends(bench: &Bench, invoice: &str) -> Result<Ends> {
    Ok(Ends {
        sequential: pay(bench, invoice, COMPARED, 1).await?,
        concurrent: pay(bench, invoice, COMPARED, AT_A_TIME).await?,
    })
}

async fn pay(bench: &Bench, invoice: &str, count: usize, at_a_time: usize) -> Result<Figures> {
    eprintln!("paying one static invoice {count} times, {at_a_time} at once");
    let cell = Cell {
        at_a_time,
        requests: Requests::Same(Box::new(to_static_invoice(invoice)?)),
        limit: Limit {
            payments: count,
            time: NO_LIMIT,
        },
    };
    let measured = measure(bench, cell).await?;
    bench.network.wait_settled(SETTLE_LIMIT).await?;
    Ok(Figures::of(&measured))
}

impl Course {
    /// Prints the first and the last payments, sequential and concurrent.
    fn print(&self) {
        println!("\nOne static invoice, paid {} times", self.payments);
        println!("{:<34} {:>8} {:>8} {:>6}", "", "first", "last", "ratio");
        print_line(
            &format!("p50 ms of {COMPARED}, one at a time"),
            [&self.first, &self.last].map(|ends| ends.sequential.p50_ms),
        );
        print_line(
            &format!("payments/s of {COMPARED}, {AT_A_TIME} at a time"),
            [&self.first, &self.last].map(|ends| ends.concurrent.payments_per_second),
        );
        println!(
            "{:<34} {:>8.1}",
            "payments/s of those in between", self.between.payments_per_second
        );
    }
}

fn print_line(what: &str, [first, last]: [f64; 2]) {
    println!("{what:<34} {first:>8.1} {last:>8.1} {:>6.2}", last / first);
}
