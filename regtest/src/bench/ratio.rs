//! AMP to a key compared with BOLT 11, measured alternately so that both run under the same
//! conditions and on nodes of the same age.

use anyhow::Result;

use super::kinds::Kind;
use super::{Bench, IDLE_TIME, Options};

/// Payments in flight.
pub(super) const AT_A_TIME: usize = 64;
/// Number of measurements of each kind.
const ROUNDS: usize = 5;

/// Returns whether these options measure AMP to a key and BOLT 11 at the concurrency at which they are
/// compared.
pub(super) fn is_measured(options: &Options) -> bool {
    let kinds = [Kind::AmpKey, Kind::Bolt11];
    kinds.iter().all(|kind| options.kinds.contains(kind))
        && options.concurrency.contains(&AT_A_TIME)
}

/// Returns the rate of AMP divided by that of BOLT 11, from the median rates.
pub(super) async fn amp_by_bolt11(bench: &Bench, options: &Options) -> Result<f64> {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        tokio::time::sleep(IDLE_TIME).await;
        for (rates, kind) in rates.iter_mut().zip([Kind::AmpKey, Kind::Bolt11]) {
            rates.push(bench.measure(kind, AT_A_TIME, options).await?.rate());
        }
    }
    let [amp, bolt11] = rates.map(median);
    Ok(amp / bolt11)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
