//! The ledger of an AMP invoice: each payment that it received, and what they add up to.

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Weekday};

use super::{InvoiceError, Registry};
use crate::storage::invoices::{
    DayTotal, InvoiceRecord, InvoiceRef, PaymentPage, PaymentRecord, TimeSpan,
};

/// Over what time payments are added up. All times are UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    All,
    Day,
    /// From Monday on, as in ISO 8601.
    Week,
    Month,
}

/// What an invoice received in one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodTotal {
    /// `2026-11-30`, `2026-W49`, `2026-11`, `all`.
    pub name: String,
    /// Its first second, and the first one after it; seconds since 1970. Of [`Period::All`]: of the
    /// days of the first and the last payment.
    pub start: u64,
    pub end: u64,
    pub payments: u64,
    pub amt_msat: u64,
}

impl Registry {
    /// The AMP invoice that has this name.
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

    /// A page of the payments that an AMP invoice received, oldest first: its settled sets.
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

    /// What an AMP invoice received in each period in which it received anything, oldest first.
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

/// Days, which are in order, as totals of their periods.
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

/// One day as the total of the period in which it lies.
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

/// A clock that was set beyond the calendar's end counts as 1970.
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
