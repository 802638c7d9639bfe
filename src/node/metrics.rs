//! The Prometheus metrics page. Modules record with `metrics::counter!` and `metrics::gauge!`, which cost
//! nothing while the page is disabled; the metrics are described here.

use std::net::SocketAddr;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;

/// Serves the page on `address`, over HTTP on any path, until `stop` is cancelled.
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
            // Ends only with a socket error, which the exporter has logged.
            _ = page => tracing::error!("metrics server stopped"),
        }
    });
    Ok(())
}

fn describe() {
    let counted = [
        (
            "ampd_invoices_added_total",
            "Invoices created since startup, by kind; includes spontaneous payments.",
        ),
        (
            "ampd_htlcs_accepted_total",
            "Incoming HTLCs accepted since startup: held or settled immediately.",
        ),
        (
            "ampd_htlcs_settled_total",
            "Incoming HTLCs settled since startup.",
        ),
        (
            "ampd_htlcs_refused_total",
            "Incoming payments rejected or failed back since startup, by the reason in the log. \
             AMP shards count individually, other payments as a whole.",
        ),
        (
            "ampd_amp_sets_settled_total",
            "AMP sets settled since startup.",
        ),
        (
            "ampd_commits_total",
            "Database commits since startup, each synced to disk.",
        ),
        (
            "ampd_rows_left_out_total",
            "Rows without effect on funds that could not be written and were skipped; the log names them. \
             Please report any value other than 0.",
        ),
    ];
    for (name, what) in counted {
        describe_counter!(name, Unit::Count, what);
    }
    let held = [
        (
            "ampd_amp_open_sets",
            "AMP sets waiting for more shards; at most max-open-sets.",
        ),
        (
            "ampd_amp_held_htlcs",
            "HTLCs of AMP sets waiting for more shards.",
        ),
        (
            "ampd_anchor_reserve_sat",
            "Amount in sat that the wallet must keep for the fees of force closes.",
        ),
        (
            "ampd_anchor_reserve_missing_sat",
            "Amount in sat that the wallet lacks of this reserve: send coins to it.",
        ),
    ];
    for (name, what) in held {
        describe_gauge!(name, Unit::Count, what);
        metrics::gauge!(name).set(0);
    }
    describe_storage();
}

fn describe_storage() {
    describe_histogram!(
        "ampd_commit_seconds",
        Unit::Seconds,
        "Duration of commits until they were on disk."
    );
    describe_gauge!(
        "ampd_manager_bytes",
        Unit::Bytes,
        "Size of LDK's channel manager at the last commit."
    );
    describe_counter!(
        "ampd_manager_bytes_written_total",
        Unit::Bytes,
        "Bytes written to store LDK's channel manager: what changed, and sometimes all of it."
    );
}
