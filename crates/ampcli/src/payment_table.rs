//! A payment as a table of its HTLC attempts, in lncli's format.

use super::table::{Column, satoshi, table};
use lnd_api::proto::lnrpc::failure::FailureCode;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{HtlcAttempt, Payment, PaymentFailureReason, Route};

const COLUMNS: [Column; 8] = [
    ("HTLC_STATE", false),
    ("ATTEMPT_TIME", true),
    ("RESOLVE_TIME", true),
    ("RECEIVER_AMT", false),
    ("FEE", false),
    ("TIMELOCK", true),
    ("CHAN_OUT", false),
    ("ROUTE", false),
];

type Row = [String; COLUMNS.len()];

/// Renders the table and the summary below it. `name_of` returns the name of a node by its public key.
#[must_use]
pub(crate) fn render(payment: &Payment, name_of: impl Fn(&str) -> String) -> String {
    let start_ns = payment.creation_time_ns;
    let rows: Vec<_> = payment
        .htlcs
        .iter()
        .map(|htlc| row(htlc, start_ns, &name_of))
        .collect();
    format!("{}{}", table(&COLUMNS, &rows), summary(payment))
}

fn row(htlc: &HtlcAttempt, start_ns: i64, name_of: &impl Fn(&str) -> String) -> Row {
    let empty = Route::default();
    let route = htlc.route.as_ref().unwrap_or(&empty);
    let received = route.hops.last().map_or(0, |hop| hop.amt_to_forward_msat);
    let names: Vec<_> = route.hops.iter().map(|hop| name_of(&hop.pub_key)).collect();
    [
        state(htlc),
        seconds_since(start_ns, htlc.attempt_time_ns),
        seconds_since(start_ns, htlc.resolve_time_ns),
        satoshi(received),
        satoshi(route.total_fees_msat),
        route.total_time_lock.to_string(),
        route.hops.first().map_or(0, |hop| hop.chan_id).to_string(),
        names.join("->"),
    ]
}

fn state(htlc: &HtlcAttempt) -> String {
    match &htlc.failure {
        Some(failure) => {
            let code = FailureCode::try_from(failure.code)
                .map_or(failure.code.to_string(), |code| {
                    code.as_str_name().to_owned()
                });
            format!("{code} @ {} hop", ordinal(failure.failure_source_index))
        }
        None => HtlcStatus::try_from(htlc.status).map_or(htlc.status.to_string(), |status| {
            status.as_str_name().to_owned()
        }),
    }
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn seconds_since(start_ns: i64, time_ns: i64) -> String {
    if time_ns == 0 {
        return "-".to_owned();
    }
    let ms = time_ns.saturating_sub(start_ns) / 1_000_000;
    let sign = if ms < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", ms.abs() / 1000, ms.abs() % 1000)
}

fn summary(payment: &Payment) -> String {
    let ending = match payment.status() {
        PaymentStatus::Succeeded => format!(", preimage: {}", payment.payment_preimage),
        PaymentStatus::Failed => format!(", reason: {}", reason(payment).as_str_name()),
        _ => String::new(),
    };
    let (amount_msat, fee_msat) = settled(payment);
    format!(
        "Amount + fee:   {} + {} sat\nPayment hash:   {}\nPayment status: {}{ending}\n",
        satoshi(amount_msat),
        satoshi(fee_msat),
        payment.payment_hash,
        payment.status().as_str_name(),
    )
}

/// Returns the amount of the settled HTLCs and their fees, in msat.
fn settled(payment: &Payment) -> (i64, i64) {
    let settled = payment
        .htlcs
        .iter()
        .filter(|htlc| htlc.status() == HtlcStatus::Succeeded);
    let routes = settled.filter_map(|htlc| htlc.route.as_ref());
    routes.fold((0, 0), |(amount, fee): (i64, i64), route| {
        let paid = route.total_amt_msat.saturating_sub(route.total_fees_msat);
        (
            amount.saturating_add(paid),
            fee.saturating_add(route.total_fees_msat),
        )
    })
}

fn reason(payment: &Payment) -> PaymentFailureReason {
    payment.failure_reason()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::recorded_message;

    #[test]
    fn table_matches_lncli() {
        let payment = recorded_message::<Payment>("payment_amp_spontaneous.json");
        let name_of = |key: &str| match &key[..4] {
            "03b8" => "eve".to_owned(),
            "0365" => "bob".to_owned(),
            other => panic!("unknown key {other}"),
        };
        let expected =
            include_str!("../../lnd-api/tests/data/lnd-output/trackpayment_amp.table.txt");
        assert_eq!(render(&payment, name_of), expected);
    }

    #[test]
    fn amount_counts_settled_htlcs_only() {
        let text = |file| {
            let payment = recorded_message::<Payment>(file);
            render(&payment, |key| key[..6].to_owned())
        };
        let paid = text("payment_amp_invoice.json");
        assert!(
            paid.contains("Amount + fee:   900000 + 3.899 sat\n"),
            "{paid}"
        );
        let failed = text("payment_amp_refused.json");
        assert!(failed.contains("Amount + fee:   0 + 0 sat\n"), "{failed}");
    }

    #[test]
    fn failures_show_code_and_hop() {
        let payment = recorded_message::<Payment>("payment_amp_refused.json");
        let text = render(&payment, |key| key[..6].to_owned());
        assert!(
            text.contains("| INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS @ 3rd hop |"),
            "{text}"
        );
        let status = "FAILED, reason: FAILURE_REASON_INCORRECT_PAYMENT_DETAILS\n";
        assert!(text.ends_with(status), "{text}");
    }
}
