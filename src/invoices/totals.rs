//! The payments received by an AMP invoice, and their totals.

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Weekday};

use super::{InvoiceError, Registry};
use crate::model::amp_payment::{DayTotal, PaymentPage, PaymentRecord, TimeSpan};
use crate::model::invoice::{InvoiceRecord, InvoiceRef};

/// The period by which payments are totaled. All times are UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    All,
    Day,
    /// From Monday, as in ISO 8601.
    Week,
    Month,
}

/// The total that an invoice received in one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodTotal {
    /// `2026-11-30`, `2026-W49`, `2026-11`, `all`.
    pub name: String,
    /// The first second of the period and the first second after it, in seconds since 1970. For
    /// [`Period::All`], those of the days of the first and the last payment.
    pub start: u64,
    pub end: u64,
    pub payments: u64,
    pub amt_msat: u64,
}

impl Registry {
    /// Returns the AMP invoice with this reference.
    ///
    /// # Errors
    /// [`InvoiceError::NotFound`], [`InvoiceError::NotAmp`], or if the database cannot be read.
    pub fn amp_invoice(&self, by: &InvoiceRef) -> Result<InvoiceRecord, InvoiceError> {
        let found = self.store.invoice_by(by)?.ok_or(InvoiceError::NotFound)?;
        if found.kind.is_amp() {
            Ok(found)
        } else {
            Err(InvoiceError::NotAmp)
        }
    }

    /// Returns a page of the payments (settled sets) that an AMP invoice received, oldest first.
    ///
    /// # Errors
    /// As [`Registry::amp_invoice`].
    pub fn payments_received(
        &self,
        by: &InvoiceRef,
        page: &PaymentPage,
    ) -> Result<Vec<PaymentRecord>, InvoiceError> {
        let invoice = self.amp_invoice(by)?;
        Ok(self.store.payments_of_invoice(invoice.add_index, page)?)
    }

    /// Returns the totals of an AMP invoice by period, oldest first. Periods without payments are
    /// left out.
    ///
    /// # Errors
    /// As [`Registry::amp_invoice`].
    pub fn totals_received(
        &self,
        by: &InvoiceRef,
        period: Period,
        settled: TimeSpan,
    ) -> Result<Vec<PeriodTotal>, InvoiceError> {
        let invoice = self.amp_invoice(by)?;
        let days = self
            .store
            .day_totals_of_invoice(invoice.add_index, settled)?;
        Ok(add_up(&days, period))
    }
}

/// Combines the totals of days, given in order, into totals of periods.
fn add_up(days: &[DayTotal], period: Period) -> Vec<PeriodTotal> {
    let mut totals: Vec<PeriodTotal> = Vec::new();
    for day in days {
        let next = total(day, period);
        match totals.last_mut() {
            Some(last) if last.name == next.name => {
                last.end = next.end;
                last.payments = last.payments.saturating_add(next.payments);
                last.amt_msat = last.amt_msat.saturating_add(next.amt_msat);
            }
            _ => totals.push(next),
        }
    }
    totals
}

/// The total of one day as that of its period.
fn total(day: &DayTotal, period: Period) -> PeriodTotal {
    let date = date(day.day);
    let after = |first: NaiveDate, days| first.checked_add_days(Days::new(days)).unwrap_or(first);
    let (name, first, next) = match period {
        Period::All => ("all".to_owned(), date, after(date, 1)),
        Period::Day => (date.format("%Y-%m-%d").to_string(), date, after(date, 1)),
        Period::Week => {
            let monday = date.week(Weekday::Mon).first_day();
            (date.format("%G-W%V").to_string(), monday, after(monday, 7))
        }
        Period::Month => {
            let first = date.with_day(1).unwrap_or(date);
            let length = u64::from(first.num_days_in_month());
            (
                date.format("%Y-%m").to_string(),
                first,
                after(first, length),
            )
        }
    };
    PeriodTotal {
        name,
        start: seconds(first),
        end: seconds(next),
        payments: day.payments,
        amt_msat: day.amt_msat,
    }
}

/// A day beyond the calendar's range (from a wrong clock) counts as 1970.
fn date(day: u64) -> NaiveDate {
    let days = i32::try_from(day).unwrap_or_default();
    NaiveDate::from_epoch_days(days).unwrap_or_default()
}

fn seconds(date: NaiveDate) -> u64 {
    let midnight = date.and_time(NaiveTime::MIN).and_utc().timestamp();
    u64::try_from(midnight).unwrap_or_default()
}

#[cfg(test)]
mod tests;
