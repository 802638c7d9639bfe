//! Totals of the payments to an AMP invoice.

use super::*;
use crate::invoices::NewInvoice;
use crate::invoices::test_registry::*;

const DAY: u64 = 86_400;

/// One payment of 100 msat on each of these dates.
fn days(dates: &[&str]) -> Vec<DayTotal> {
    let day = |text: &&str| DayTotal {
        day: seconds(text.parse().unwrap()) / DAY,
        payments: 1,
        amt_msat: 100,
    };
    dates.iter().map(day).collect()
}

fn totals(dates: &[&str], period: Period) -> Vec<(String, String, String, u64)> {
    let totals = add_up(&days(dates), period);
    let date = |seconds| ampd_text::utc_text(seconds).replace("T00:00:00Z", "");
    let short = |total: PeriodTotal| {
        assert_eq!(total.amt_msat, 100 * total.payments);
        (
            total.name,
            date(total.start),
            date(total.end),
            total.payments,
        )
    };
    totals.into_iter().map(short).collect()
}

fn row(name: &str, start: &str, end: &str, payments: u64) -> (String, String, String, u64) {
    (name.into(), start.into(), end.into(), payments)
}

#[test]
fn periods_follow_the_calendar() {
    // A leap day; a Sunday and a Monday; a year's end whose week belongs to the next year.
    let dates = [
        "2028-02-28",
        "2028-02-29",
        "2028-03-01",
        "2028-03-05",
        "2028-03-06",
        "2030-12-31",
    ];
    assert_eq!(
        totals(&dates[1..3], Period::Day),
        [
            row("2028-02-29", "2028-02-29", "2028-03-01", 1),
            row("2028-03-01", "2028-03-01", "2028-03-02", 1),
        ]
    );
    assert_eq!(
        totals(&dates, Period::Week),
        [
            row("2028-W09", "2028-02-28", "2028-03-06", 4),
            row("2028-W10", "2028-03-06", "2028-03-13", 1),
            row("2031-W01", "2030-12-30", "2031-01-06", 1),
        ]
    );
    assert_eq!(
        totals(&dates, Period::Month),
        [
            row("2028-02", "2028-02-01", "2028-03-01", 2),
            row("2028-03", "2028-03-01", "2028-04-01", 3),
            row("2030-12", "2030-12-01", "2031-01-01", 1),
        ]
    );
    assert_eq!(
        totals(&dates, Period::All),
        [row("all", "2028-02-28", "2031-01-01", 6)]
    );
    for period in [Period::All, Period::Day, Period::Week, Period::Month] {
        assert!(add_up(&[], period).is_empty());
    }
}

#[test]
fn accepts_times_beyond_the_calendar() {
    for day in [0, 1, u64::from(u32::MAX), u64::MAX / DAY, u64::MAX] {
        let wild = DayTotal {
            day,
            payments: u64::MAX,
            amt_msat: u64::MAX,
        };
        for period in [Period::All, Period::Day, Period::Week, Period::Month] {
            let totals = add_up(&[wild, wild], period);
            assert_eq!(totals[0].amt_msat, u64::MAX);
        }
    }
}

#[tokio::test]
async fn payments_add_up_to_the_amount_paid() {
    let fixture = Fixture::new();
    fixture.arrive_all(&payment(1, &[60, 40]));
    let to_the_same = |id, amounts: &[u64]| -> Vec<_> {
        let shards = payment(id, amounts).into_iter();
        shards.map(|shard| shard.to(payment_addr(1))).collect()
    };
    fixture.arrive_all(&to_the_same(2, &[700]));
    fixture.arrive_all(&to_the_same(3, &[500, 500])[..1]);
    fixture.arrive_all(&payment(4, &[1_000]));
    fixture.store.flush();
    let all = PaymentPage {
        limit: 10,
        ..Default::default()
    };
    for by in [
        InvoiceRef::Addr(payment_addr(1)),
        InvoiceRef::SetId(set_id(2)),
        InvoiceRef::SetId(set_id(3)),
    ] {
        let found = fixture.registry.payments_received(&by, &all).unwrap();
        let short = found
            .iter()
            .map(|one| (one.set_id, one.amt_msat, one.shards, one.settle_index));
        let short: Vec<_> = short.collect();
        assert_eq!(short, [(set_id(1), 100, 2, 1), (set_id(2), 700, 1, 2)]);
        let totals = fixture
            .registry
            .totals_received(&by, Period::All, TimeSpan::default())
            .unwrap();
        let invoice = fixture.registry.amp_invoice(&by).unwrap();
        assert_eq!((totals.len(), totals[0].payments), (1, 2));
        assert_eq!(totals[0].amt_msat, invoice.amt_paid_msat);
    }
}

#[tokio::test]
async fn only_amp_invoices_list_payments() {
    let fixture = Fixture::new();
    let ordinary = fixture.registry.add(NewInvoice::default()).await.unwrap();
    let by = InvoiceRef::Hash(ordinary.payment_hash);
    let page = PaymentPage::default();
    let refused = fixture.registry.payments_received(&by, &page).unwrap_err();
    assert!(matches!(refused, InvoiceError::NotAmp));
    let unknown = InvoiceRef::SetId(set_id(9));
    let refused = fixture
        .registry
        .totals_received(&unknown, Period::All, TimeSpan::default());
    assert!(matches!(refused.unwrap_err(), InvoiceError::NotFound));
}
