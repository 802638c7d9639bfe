//! Any text as the JSON of a stored column: what can be read is written such that it can be read again.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;

use ampd::channels::closed::ClosedChannel;
use ampd::model::attempt::{AttemptFailure, HopRecord};
use ampd::model::invoice::InvoiceTerms;
use ampd::model::payment::PaymentTerms;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    reads_what_it_writes::<PaymentTerms>(text);
    reads_what_it_writes::<Vec<HopRecord>>(text);
    reads_what_it_writes::<AttemptFailure>(text);
    reads_what_it_writes::<InvoiceTerms>(text);
    // The custom records of an HTLC.
    reads_what_it_writes::<BTreeMap<u64, Vec<u8>>>(text);
    reads_what_it_writes::<ClosedChannel>(text);
});

fn reads_what_it_writes<T>(text: &str)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let Ok(record) = serde_json::from_str::<T>(text) else {
        return;
    };
    let written = serde_json::to_string(&record).expect("a record can be written");
    let read: T = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(read, record);
}
