//! Reports a shortfall of the anchor reserve: in the log when it begins and ends, and in the metrics.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Amount;
use tokio_util::sync::CancellationToken;

use crate::channels::anchor_reserve::AnchorReserve;

/// How often the reserve is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Checks the reserve now and then every 30 seconds until `stop` is cancelled.
pub(super) async fn watch(reserve: Arc<AnchorReserve>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(CHECK_INTERVAL);
    let mut was_missing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => was_missing = report(&reserve, was_missing),
        }
    }
}

/// Updates the metrics and logs a change. Returns whether coins are missing.
fn report(reserve: &AnchorReserve, was_missing: bool) -> bool {
    let (required, missing) = (reserve.required(), reserve.missing_with(0));
    metrics::gauge!("ampd_anchor_reserve_sat").set(gauge(required));
    metrics::gauge!("ampd_anchor_reserve_missing_sat").set(gauge(missing));
    let is_missing = missing > Amount::ZERO;
    match (was_missing, is_missing) {
        (false, true) => tracing::warn!(
            required_sat = required.to_sat(),
            missing_sat = missing.to_sat(),
            "the wallet cannot pay for force-closing all channels: send coins to it"
        ),
        (true, false) => tracing::info!("the wallet can pay for force closes again"),
        _ => {}
    }
    is_missing
}

/// Exact up to 2^53 sat, more than the total supply.
#[expect(clippy::cast_precision_loss, reason = "no amount is above 2^53 sat")]
fn gauge(amount: Amount) -> f64 {
    amount.to_sat() as f64
}
