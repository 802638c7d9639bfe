//! ListPayments.

use tonic::Status;

use crate::rpc::Rooms;
use crate::rpc::input::creation_dates;
use crate::rpc::payment::{payment, without_hops};
use crate::rpc::proto::lnrpc::{ListPaymentsRequest, ListPaymentsResponse};
use crate::storage::payments::PaymentPage;

/// Payments of one answer if the caller does not say (lnd).
const DEFAULT_PAGE: u64 = 100;

/// A page of payments.
pub(super) fn list(
    rooms: &Rooms,
    request: &ListPaymentsRequest,
) -> Result<ListPaymentsResponse, Status> {
    let found = rooms.payments.list(&page(request)?)?;
    let mut payments: Vec<_> = found.iter().map(payment).collect();
    if request.omit_hops {
        payments = payments.into_iter().map(without_hops).collect();
    }
    let total = match request.count_total_payments {
        true => rooms.payments.count()?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_lnds_default_and_takes_any_number() {
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
