//! `deletepayments`: two calls in one command, as in lncli.

use clap::Args;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::{print, print_note};
use super::values::{Hex, hex_32};
use lnd_api::proto::lnrpc::{DeleteAllPaymentsRequest, DeletePaymentRequest};

/// Delete outgoing payments from the database: those that failed, all, or a single one. Payments under
/// way stay.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct DeletePayments {
    /// All payments that failed
    #[arg(long)]
    all: bool,
    /// The one with this payment hash, in whatever state; for AMP the set_id
    #[arg(long, value_parser = hex_32)]
    payment_hash: Option<Hex>,
    /// Only the HTLCs that failed; the payments stay
    #[arg(long)]
    failed_htlcs_only: bool,
    /// With --all: not only those that failed
    #[arg(long)]
    include_non_failed: bool,
}

/// The call that the flags mean.
#[derive(Debug, PartialEq)]
enum Call {
    One(DeletePaymentRequest),
    All(DeleteAllPaymentsRequest),
}

impl DeletePayments {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self.call()? {
            Call::One(request) => print(node.lightning.delete_payment(request).await?.get_ref()),
            Call::All(request) => {
                print_note(&format!(
                    "Removing {} payments, this might take a while...\n",
                    self.what()
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
            None => error("nothing is deleted: give --all or --payment_hash"),
        }
    }

    /// lncli asks for all payments and for the HTLCs alone at once, which the node refuses.
    fn all_request(&self) -> DeleteAllPaymentsRequest {
        DeleteAllPaymentsRequest {
            all_payments: self.include_non_failed && !self.failed_htlcs_only,
            failed_payments_only: !self.include_non_failed,
            failed_htlcs_only: self.failed_htlcs_only,
        }
    }

    fn what(&self) -> String {
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
    fn flags_say_what_is_deleted() {
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
    fn what_to_delete_is_said_once() {
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
