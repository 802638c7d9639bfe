//! The page of metrics, for Prometheus. Rooms count with `metrics::counter!` and `metrics::gauge!`,
//! which cost nothing while nobody reads; what the names mean is said here.

use std::net::SocketAddr;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;

/// Serves the page on `address`, over HTTP on any path, until the node stops.
pub(super) fn serve(
    address: SocketAddr,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let refused = |reason: String| StartError::MetricsListen { address, reason };
    let (recorder, page) = PrometheusBuilder::new()
        .with_http_listener(address)
        .build()
        .map_err(|error| refused(error.to_string()))?;
    metrics::set_global_recorder(recorder).map_err(|error| refused(error.to_string()))?;
    describe();
    tracker.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            // It ends by itself only with an error of the socket, which it has logged.
            _ = page => tracing::error!("the page of metrics is no longer served"),
        }
    });
    Ok(())
}

fn describe() {
    let counted = [
        (
            "ampd_invoices_added_total",
            "Invoices made since the start, by kind; of spontaneous payments, too.",
        ),
        (
            "ampd_htlcs_accepted_total",
            "Incoming HTLCs taken since the start: held, or settled at once.",
        ),
        (
            "ampd_htlcs_settled_total",
            "Incoming HTLCs settled since the start.",
        ),
        (
            "ampd_htlcs_refused_total",
            "Incoming payments to us refused or given back since the start, by the reason in the log: \
             each shard of AMP, each whole payment of others.",
        ),
        (
            "ampd_amp_sets_settled_total",
            "AMP sets settled since the start.",
        ),
        (
            "ampd_commits_total",
            "Commits to the database since the start; each is on disk.",
        ),
        (
            "ampd_rows_left_out_total",
            "Rows without money that could not be written and were left out; the log names them. \
             Anything but 0 is to be reported.",
        ),
    ];
    for (name, what) in counted {
        describe_counter!(name, Unit::Count, what);
    }
    let held = [
        (
            "ampd_amp_open_sets",
            "AMP sets that wait for more shards; at most max-open-sets.",
        ),
        (
            "ampd_amp_held_htlcs",
            "HTLCs of AMP sets that wait for more shards.",
        ),
        (
            "ampd_anchor_reserve_sat",
            "What the wallet has to keep for the fees of forced closes.",
        ),
        (
            "ampd_anchor_reserve_missing_sat",
            "What the wallet lacks of that: send it coins.",
        ),
    ];
    for (name, what) in held {
        describe_gauge!(name, Unit::Count, what);
        metrics::gauge!(name).set(0);
    }
    describe_histogram!(
        "ampd_commit_seconds",
        Unit::Seconds,
        "How long commits took, until they were on disk."
    );
    describe_gauge!(
        "ampd_manager_bytes",
        Unit::Bytes,
        "LDK's channel manager as it was last written; it is written whole."
    );
}
