//! Tells of a reserve that is missing: in the log when that begins and ends, and in the metrics.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Amount;
use tokio_util::sync::CancellationToken;

use crate::channels::anchor_reserve::AnchorReserve;

/// How often the reserve is looked at.
const PAUSE: Duration = Duration::from_secs(30);

/// Looks at the reserve at once and then every half minute, until `stop`.
pub(super) async fn watch(reserve: Arc<AnchorReserve>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(PAUSE);
    let mut was_missing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => was_missing = tell(&reserve, was_missing),
        }
    }
}

/// Returns whether something is missing.
fn tell(reserve: &AnchorReserve, was_missing: bool) -> bool {
    let (required, missing) = (reserve.required(), reserve.missing_with(0));
    metrics::gauge!("ampd_anchor_reserve_sat").set(gauge(required));
    metrics::gauge!("ampd_anchor_reserve_missing_sat").set(gauge(missing));
    let is_missing = missing > Amount::ZERO;
    match (was_missing, is_missing) {
        (false, true) => tracing::warn!(
            required_sat = required.to_sat(),
            missing_sat = missing.to_sat(),
            "the wallet cannot pay for forced closes of all channels: send it some coins"
        ),
        (true, false) => tracing::info!("the wallet can pay for forced closes again"),
        _ => {}
    }
    is_missing
}

/// Exact up to 2^53 sat, which is more than there are.
#[expect(clippy::cast_precision_loss, reason = "no amount is above 2^53 sat")]
fn gauge(amount: Amount) -> f64 {
    amount.to_sat() as f64
}
