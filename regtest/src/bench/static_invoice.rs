//! Pays one static invoice thousands of times: the last payments must cost no more than the first.

use std::time::Duration;

use anyhow::Result;

use super::kinds::{Kind, Requests, static_invoice, to_static_invoice};
use super::load::{Cell, Limit, Measured, measure};
use super::{Bench, IDLE_TIME, SETTLE_LIMIT, table};

/// Number of payments compared at each end: this many sequentially for the latency and as many
/// concurrently for the rate. The node is idle before both.
const COMPARED: usize = 500;
const AT_A_TIME: usize = 64;
/// Only the number of payments ends a measurement.
const NO_LIMIT: Duration = Duration::from_secs(3_600);

/// Pays `payments` times, at least [`COMPARED`] in each part, and prints the comparison.
pub(super) async fn run(bench: &Bench, payments: usize) -> Result<()> {
    let invoice = static_invoice(bench).await?;
    let pay = async |count, at_a_time| -> Result<Measured> {
        let request = to_static_invoice(&invoice)?;
        let cell = Cell {
            kind: Kind::AmpInvoice,
            at_a_time,
            requests: Requests::Same(Box::new(request)),
            limit: Limit {
                payments: count,
                time: NO_LIMIT,
            },
        };
        let measured = measure(bench, cell).await?;
        bench.network.wait_settled(SETTLE_LIMIT).await?;
        Ok(measured)
    };
    let between = payments.saturating_sub(4 * COMPARED).max(1);
    let first = [pay(COMPARED, 1).await?, pay(COMPARED, AT_A_TIME).await?];
    let middle = pay(between, AT_A_TIME).await?;
    // Otherwise the last payments would be slowed by those just before them, which are still in the
    // channel manager.
    tokio::time::sleep(IDLE_TIME).await;
    let last = [pay(COMPARED, 1).await?, pay(COMPARED, AT_A_TIME).await?];
    table::print_static(&first, &middle, &last);
    Ok(())
}
