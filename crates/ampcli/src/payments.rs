//! Outgoing payments: `trackpayment`, `listpayments`.

use clap::Args;

use super::connection::Node;
use super::error::CliError;
use super::follow::{View, follow};
use super::output::print;
use super::values::{Hex, hex_32};
use lnd_api::proto::lnrpc::ListPaymentsRequest;
use lnd_api::proto::routerrpc::TrackPaymentRequest;

/// Track a payment until it succeeds or fails.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct TrackPayment {
    /// Payment hash, or set_id for AMP (32 bytes in hex)
    #[arg(value_parser = hex_32)]
    hash: Hex,
    /// Print every update as JSON, separated by empty lines, instead of a table
    #[arg(long)]
    json: bool,
}

impl TrackPayment {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = TrackPaymentRequest {
            payment_hash: self.hash.0,
            no_inflight_updates: false,
        };
        let updates = node.router.track_payment_v2(request).await?.into_inner();
        let view = if self.json {
            View::JsonUpdates
        } else {
            View::Table
        };
        follow(updates, view).await.map(drop)
    }
}

/// List outgoing payments, by default the last 100.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ListPayments {
    /// Include failed and in-flight payments
    #[arg(long)]
    include_incomplete: bool,
    /// payment_index before which (with --paginate_forwards: after which) the list starts
    #[arg(long, default_value_t = 0)]
    index_offset: u64,
    /// Maximum number of payments; 0 means 100
    #[arg(long, default_value_t = 0)]
    max_payments: u64,
    /// List from oldest to newest
    #[arg(long)]
    paginate_forwards: bool,
    /// Include the total number of payments
    #[arg(long)]
    count_total_payments: bool,
    /// Earliest creation time (seconds since 1970)
    #[arg(long, default_value_t = 0)]
    creation_date_start: u64,
    /// Latest creation time (seconds since 1970); 0 means no limit
    #[arg(long, default_value_t = 0)]
    creation_date_end: u64,
    /// Omit the hops of the routes
    #[arg(long)]
    omit_hops: bool,
}

impl ListPayments {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = ListPaymentsRequest {
            include_incomplete: self.include_incomplete,
            index_offset: self.index_offset,
            max_payments: self.max_payments,
            reversed: !self.paginate_forwards,
            count_total_payments: self.count_total_payments,
            creation_date_start: self.creation_date_start,
            creation_date_end: self.creation_date_end,
            omit_hops: self.omit_hops,
        };
        print(node.lightning.list_payments(request).await?.get_ref())
    }
}
