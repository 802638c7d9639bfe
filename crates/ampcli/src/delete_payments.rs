//! `deletepayments`: two RPCs in one command, as in lncli.

use clap::Args;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::{print, print_note};
use super::values::{Hex, hex_32};
use lnd_api::proto::lnrpc::{DeleteAllPaymentsRequest, DeletePaymentRequest};

/// Delete failed payments, all payments or one payment from the database. In-flight payments are kept.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct DeletePayments {
    /// Delete all failed payments
    #[arg(long)]
    all: bool,
    /// Payment hash (set_id for AMP) of the payment to delete, whether it failed or succeeded
    #[arg(long, value_parser = hex_32)]
    payment_hash: Option<Hex>,
    /// Delete only failed HTLCs and keep the payments
    #[arg(long)]
    failed_htlcs_only: bool,
    /// With --all: also delete payments that did not fail
    #[arg(long)]
    include_non_failed: bool,
}

/// The RPC that the flags select.
#[derive(Debug, PartialEq)]
enum Call {
    One(DeletePaymentRequest),
    All(DeleteAllPaymentsRequest),
}

impl DeletePayments {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self.call()? {
            Call::One(request) => print(node.lightning.delete_payment(request).await?.get_ref()),
            Call::All(request) => {
                print_note(&format!(
                    "Removing {} payments, this might take a while...\n",
                    self.scope()
                ))?;
                print(node.lightning.delete_all_payments(request).await?.get_ref())
            }
        }
    }

    fn call(&self) -> Result<Call, CliError> {
        match &self.payment_hash {
            Some(_) if self.all => error("cannot use --all and --payment_hash at the same time"),
            Some(_) if self.include_non_failed => error(
                "cannot use --payment_hash and --include_non_failed at the same time, when using a \
                 payment hash the payment is deleted independent of its state",
            ),
            Some(hash) => Ok(Call::One(DeletePaymentRequest {
                payment_hash: hash.0.clone(),
                failed_htlcs_only: self.failed_htlcs_only,
            })),
            None if self.all => Ok(Call::All(self.all_request())),
            None => error("nothing to delete: set --all or --payment_hash"),
        }
    }

    /// Unlike lncli, never sets `all_payments` and `failed_htlcs_only` together: the node rejects that.
    fn all_request(&self) -> DeleteAllPaymentsRequest {
        DeleteAllPaymentsRequest {
            all_payments: self.include_non_failed && !self.failed_htlcs_only,
            failed_payments_only: !self.include_non_failed,
            failed_htlcs_only: self.failed_htlcs_only,
        }
    }

    fn scope(&self) -> String {
        let whole = if self.include_non_failed {
            "all"
        } else {
            "failed"
        };
        if self.failed_htlcs_only {
            format!("failed HTLCs from {whole}")
        } else {
            whole.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        command: DeletePayments,
    }

    fn call(args: &str) -> Result<Call, String> {
        let args = ["ampcli"].into_iter().chain(args.split_whitespace());
        let line = Line::try_parse_from(args).map_err(|error| error.to_string())?;
        line.command.call().map_err(|error| error.to_string())
    }

    #[test]
    fn flags_select_what_is_deleted() {
        let all = |all_payments, failed_payments_only, failed_htlcs_only| {
            Call::All(DeleteAllPaymentsRequest {
                all_payments,
                failed_payments_only,
                failed_htlcs_only,
            })
        };
        for (args, expected) in [
            ("--all", all(false, true, false)),
            ("--all --include_non_failed", all(true, false, false)),
            ("--all --failed_htlcs_only", all(false, true, true)),
            (
                "--all --include_non_failed --failed_htlcs_only",
                all(false, false, true),
            ),
        ] {
            assert_eq!(call(args), Ok(expected), "{args}");
        }
        let hash = format!("--payment_hash={} --failed_htlcs_only", "11".repeat(32));
        let one = Call::One(DeletePaymentRequest {
            payment_hash: vec![0x11; 32],
            failed_htlcs_only: true,
        });
        assert_eq!(call(&hash), Ok(one));
    }

    #[test]
    fn rejects_missing_and_conflicting_flags() {
        let hash = format!("--payment_hash={}", "11".repeat(32));
        for args in [
            "",
            "--failed_htlcs_only",
            "--include_non_failed",
            "--payment_hash=11",
            &format!("{hash} --all"),
            &format!("{hash} --include_non_failed"),
        ] {
            assert!(call(args).is_err(), "{args}");
        }
    }
}
