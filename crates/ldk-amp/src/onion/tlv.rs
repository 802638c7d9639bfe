//! TLV streams (BOLT 1): records of BigSize type, BigSize length and value, in ascending order of type.

use lightning::util::ser::{BigSize, Readable, Writeable};
use thiserror::Error;

/// A record of a stream. The value borrows from the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The type.
    pub kind: u64,
    /// The value, without type and length.
    pub value: &'a [u8],
}

/// The bytes are not a canonical TLV stream.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TlvError {
    /// A type or length is truncated or not minimally encoded.
    #[error("a type or length is truncated or not minimally encoded")]
    BigSize,
    /// A record is longer than the rest of the stream.
    #[error("record {kind} has length {length}, but only {available} bytes follow")]
    Length {
        /// The type of the record.
        kind: u64,
        /// Its length, in bytes.
        length: u64,
        /// The bytes that are left.
        available: usize,
    },
    /// A type is lower than or equal to the previous one.
    #[error("record {kind} follows record {previous}; types must be ascending and unique")]
    Order {
        /// The type of the record.
        kind: u64,
        /// The type of the record before it.
        previous: u64,
    },
}

/// Parses a whole stream. Any types are allowed, in strictly ascending order.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Vec<Record<'_>>, TlvError> {
    let mut records: Vec<Record> = Vec::new();
    while !bytes.is_empty() {
        let kind = read_big_size(&mut bytes)?;
        if let Some(previous) = records.last().map(|record| record.kind)
            && kind <= previous
        {
            return Err(TlvError::Order { kind, previous });
        }
        let length = read_big_size(&mut bytes)?;
        let too_long = TlvError::Length {
            kind,
            length,
            available: bytes.len(),
        };
        let length = usize::try_from(length).map_err(|_| too_long)?;
        let (value, rest) = bytes.split_at_checked(length).ok_or(too_long)?;
        records.push(Record { kind, value });
        bytes = rest;
    }
    Ok(records)
}

/// Appends the records, which must be in ascending order.
pub(super) fn write(records: &[Record<'_>], out: &mut Vec<u8>) {
    debug_assert!(records.is_sorted_by(|a, b| a.kind < b.kind));
    for record in records {
        write_big_size(record.kind, out);
        write_big_size(record.value.len() as u64, out);
        out.extend_from_slice(record.value);
    }
}

/// Reads a BigSize from the front of `bytes`.
pub(super) fn read_big_size(bytes: &mut &[u8]) -> Result<u64, TlvError> {
    BigSize::read(bytes)
        .map(|size| size.0)
        .map_err(|_| TlvError::BigSize)
}

/// Appends a BigSize.
pub(super) fn write_big_size(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&BigSize(number).encode());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn kinds(bytes: &[u8]) -> Result<Vec<u64>, TlvError> {
        parse(bytes).map(|records| records.iter().map(|record| record.kind).collect())
    }

    #[test]
    fn rejects_duplicate_and_descending_types() {
        assert_eq!(kinds(&[2, 0, 4, 1, 9]), Ok(vec![2, 4]));
        assert_eq!(
            kinds(&[2, 0, 2, 0]),
            Err(TlvError::Order {
                kind: 2,
                previous: 2
            })
        );
        assert_eq!(
            kinds(&[4, 0, 2, 0]),
            Err(TlvError::Order {
                kind: 2,
                previous: 4
            })
        );
    }

    #[test]
    fn rejects_truncated_and_non_minimal_big_sizes() {
        assert_eq!(kinds(&[0xfd, 0x00, 0xfc, 0]), Err(TlvError::BigSize));
        assert_eq!(
            kinds(&[0xfe, 0x00, 0x00, 0xff, 0xff, 0]),
            Err(TlvError::BigSize)
        );
        assert_eq!(
            kinds(&[0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]),
            Err(TlvError::BigSize)
        );
        assert_eq!(kinds(&[0xfd, 0x01]), Err(TlvError::BigSize));
        assert_eq!(kinds(&[7]), Err(TlvError::BigSize));
    }

    #[test]
    fn rejects_lengths_beyond_the_stream() {
        let error = TlvError::Length {
            kind: 7,
            length: 3,
            available: 2,
        };
        assert_eq!(kinds(&[7, 3, 1, 1]), Err(error));
        let huge = [&[7, 0xff][..], &[0xff; 8]].concat();
        let error = TlvError::Length {
            kind: 7,
            length: u64::MAX,
            available: 0,
        };
        assert_eq!(kinds(&huge), Err(error));
    }

    proptest! {
        #[test]
        fn streams_round_trip(
            records in prop::collection::btree_map(
                any::<u64>(), prop::collection::vec(any::<u8>(), 0..300), 0..10)
        ) {
            let borrowed: Vec<_> =
                records.iter().map(|(kind, value)| Record { kind: *kind, value }).collect();
            let mut bytes = Vec::new();
            write(&borrowed, &mut bytes);
            let parsed = parse(&bytes).unwrap();
            let parsed: BTreeMap<_, _> =
                parsed.iter().map(|record| (record.kind, record.value.to_vec())).collect();
            prop_assert_eq!(parsed, records);
        }

        #[test]
        fn parsed_streams_are_canonical(bytes in prop::collection::vec(0..20u8, 0..60)) {
            if let Ok(records) = parse(&bytes) {
                let mut again = Vec::new();
                write(&records, &mut again);
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
