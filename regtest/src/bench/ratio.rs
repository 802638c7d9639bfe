//! AMP to a key beside BOLT 11: measured in turn, so that both meet the same machine and a node of the
//! same age.

use anyhow::Result;

use super::kinds::Kind;
use super::{Bench, Options, REST};

/// Payments at a time.
pub const AT_A_TIME: usize = 64;
/// Measurements of each kind.
const TURNS: usize = 5;

/// By how much AMP is faster than BOLT 11 (below 1: slower), from the median rates.
pub async fn amp_by_bolt11(bench: &Bench, options: &Options) -> Result<f64> {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        tokio::time::sleep(REST).await;
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
