//! ListPayments, DeletePayment, DeleteAllPayments.

use tonic::Status;

use crate::model::payment::PaymentPage;
use crate::payments::Deletion;
use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::parse::{creation_dates, hash};
use crate::rpc::convert::payment::{payment, without_hops};
use lnd_api::proto::lnrpc::{
    DeleteAllPaymentsRequest, DeleteAllPaymentsResponse, DeletePaymentRequest,
    DeletePaymentResponse, ListPaymentsRequest, ListPaymentsResponse,
};

/// The number of payments in a response if the client does not set one (lnd).
const DEFAULT_PAGE: u64 = 100;

/// Lists a page of payments.
pub(super) fn list(
    context: &Context,
    request: &ListPaymentsRequest,
) -> Result<ListPaymentsResponse, Status> {
    let found = context.payments.list(&page(request)?)?;
    let mut payments: Vec<_> = found.iter().map(payment).collect();
    if request.omit_hops {
        payments = payments.into_iter().map(without_hops).collect();
    }
    let total = match request.count_total_payments {
        true => context.payments.count()?,
        false => 0,
    };
    Ok(ListPaymentsResponse {
        first_index_offset: payments.first().map_or(0, |payment| payment.payment_index),
        last_index_offset: payments.last().map_or(0, |payment| payment.payment_index),
        total_num_payments: total,
        payments,
    })
}

fn page(request: &ListPaymentsRequest) -> Result<PaymentPage, Status> {
    creation_dates(request.creation_date_start, request.creation_date_end)?;
    Ok(PaymentPage {
        index_offset: request.index_offset,
        limit: match request.max_payments {
            0 => DEFAULT_PAGE,
            limit => limit,
        },
        reversed: request.reversed,
        include_incomplete: request.include_incomplete,
        created_from: request.creation_date_start,
        created_to: request.creation_date_end,
    })
}

/// Deletes one completed payment.
pub(super) async fn delete(
    context: &Context,
    request: &DeletePaymentRequest,
) -> Result<DeletePaymentResponse, Status> {
    let identifier = hash(&request.payment_hash)?;
    let what = deletion(request.failed_htlcs_only);
    context.payments.delete(&identifier, what).await?;
    let status = match what {
        Deletion::Payment => "payment deleted",
        Deletion::FailedAttempts => "failed htlcs of the payment deleted",
    };
    Ok(DeletePaymentResponse {
        status: status.into(),
    })
}

/// Deletes all completed payments.
pub(super) async fn delete_all(
    context: &Context,
    request: &DeleteAllPaymentsRequest,
) -> Result<DeleteAllPaymentsResponse, Status> {
    check(request)?;
    let failed_htlcs_only = request.failed_htlcs_only;
    let what = deletion(failed_htlcs_only);
    let found = context
        .payments
        .delete_all(request.failed_payments_only, what)
        .await?;
    // As in lnd, payments of which only failed HTLCs were deleted are not counted.
    let deleted = if failed_htlcs_only { 0 } else { found };
    Ok(DeleteAllPaymentsResponse {
        status: format!("{deleted} payments deleted, failed_htlcs_only={failed_htlcs_only}"),
    })
}

fn deletion(failed_htlcs_only: bool) -> Deletion {
    if failed_htlcs_only {
        Deletion::FailedAttempts
    } else {
        Deletion::Payment
    }
}

/// Requires the options to name exactly what is deleted, since it cannot be undone.
fn check(request: &DeleteAllPaymentsRequest) -> Result<(), Status> {
    let only = request.failed_payments_only || request.failed_htlcs_only;
    match (request.all_payments, only) {
        (false, false) => Err(refused(
            "at least one of the options `all_payments`, `failed_payments_only`, or \
             `failed_htlcs_only` must be set to true",
        )),
        (true, true) => Err(refused(
            "`all_payments` cannot be set to true while either `failed_payments_only` or \
             `failed_htlcs_only` is also set to true",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requires_unambiguous_deletion_options() {
        let is_refused = |all_payments, failed_payments_only, failed_htlcs_only| {
            check(&DeleteAllPaymentsRequest {
                all_payments,
                failed_payments_only,
                failed_htlcs_only,
            })
            .is_err()
        };
        assert!(is_refused(false, false, false));
        assert!(is_refused(true, true, false) && is_refused(true, false, true));
        for (failed_payments_only, failed_htlcs_only) in
            [(true, false), (false, true), (true, true)]
        {
            assert!(!is_refused(false, failed_payments_only, failed_htlcs_only));
        }
        assert!(!is_refused(true, false, false));
    }

    #[test]
    fn page_size_defaults_to_lnds_and_has_no_limit() {
        let mut request = ListPaymentsRequest::default();
        assert_eq!(page(&request).unwrap().limit, 100);
        request.max_payments = u64::MAX;
        request.index_offset = u64::MAX;
        assert_eq!(page(&request).unwrap().limit, u64::MAX);
        request.creation_date_start = 2;
        request.creation_date_end = 1;
        assert!(page(&request).is_err());
    }
}
