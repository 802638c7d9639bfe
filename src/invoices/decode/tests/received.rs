//! Invoices encoded differently from lightning-invoice.

use bitcoin::secp256k1::{Secp256k1, SecretKey};
use proptest::prelude::*;
use regtest::written_invoice::{WrittenInvoice, bytes, number};

use super::*;

fn secret() -> SecretKey {
    SecretKey::from_slice(&[5; 32]).unwrap()
}

fn key() -> PublicKey {
    secret().public_key(&Secp256k1::new())
}

fn written() -> WrittenInvoice {
    WrittenInvoice::new("lnbcrt10u")
}

fn read(invoice: &WrittenInvoice) -> Result<DecodedInvoice, DecodeError> {
    invoice.signed(&secret()).parse()
}

/// lnd decodes these identically: see `unusual_invoices` in tests/lnd_interop.
#[test]
fn non_minimal_numbers_keep_the_payee() {
    for (tag, value, length) in [('x', 60, 8), ('c', 80, 4), ('x', 0, 1), ('x', 0, 0)] {
        let invoice = read(&written().with(tag, &number(value, length))).unwrap();
        assert_eq!(invoice.destination, key(), "{tag} = {value} in {length}");
        let (expiry, delta) = match tag {
            'x' => (value, DEFAULT_CLTV_DELTA),
            _ => (DEFAULT_EXPIRY, value),
        };
        assert_eq!((invoice.expiry, invoice.cltv_delta), (expiry, delta));
    }
}

#[test]
fn nonzero_padding_keeps_the_payee() {
    let mut hash = bytes(&[3; 32]);
    *hash.last_mut().unwrap() |= 1;
    let mut invoice = written();
    invoice.fields[0].1 = hash;
    assert_eq!(read(&invoice).unwrap().destination, key());
}

#[test]
fn stated_payee_must_have_signed() {
    let own = written().with('n', &bytes(&key().serialize()));
    let own = own.with('x', &number(60, 8));
    assert_eq!(read(&own).unwrap().destination, key());
    let other = SecretKey::from_slice(&[6; 32]).unwrap();
    let other = other.public_key(&Secp256k1::new());
    let forged = written().with('n', &bytes(&other.serialize()));
    let answer = read(&forged);
    assert!(matches!(answer, Err(DecodeError::Signature)), "{answer:?}");
}

#[test]
fn rejects_amounts_with_leading_zeros() {
    for amount in ["010u", "0", "00", "0m", "01", "0000000001n"] {
        let answer = read(&WrittenInvoice::new(&format!("lnbcrt{amount}")));
        let refused = matches!(answer, Err(DecodeError::LeadingZero));
        assert!(refused, "{amount}: {answer:?}");
    }
    for amount in ["", "10u", "1", "1000n", "20", "100p"] {
        let invoice = read(&WrittenInvoice::new(&format!("lnbcrt{amount}")));
        assert_eq!(invoice.unwrap().destination, key(), "{amount}");
    }
}

#[test]
fn rejects_feature_bits_with_leading_zeros() {
    // Bits 8 and 14 are the last three quintets; bits before them are zero.
    let minimal = number(1 << 14 | 1 << 8, 3);
    let invoice = read(&written().with('9', &minimal)).unwrap();
    assert_eq!(
        (invoice.destination, invoice.features),
        (key(), vec![8, 14])
    );
    for length in [4, 5, 20] {
        let answer = read(&written().with('9', &number(1 << 14 | 1 << 8, length)));
        let refused = matches!(answer, Err(DecodeError::PaddedFeatures));
        assert!(refused, "{length}: {answer:?}");
    }
    let answer = read(&written().with('9', &[0]));
    assert!(matches!(answer, Err(DecodeError::PaddedFeatures)));
}

#[test]
fn rejects_description_together_with_its_hash() {
    let answer = read(&written().with('h', &bytes(&[4; 32])));
    let refused = matches!(answer, Err(DecodeError::TwoDescriptions));
    assert!(refused, "{answer:?}");
}

#[test]
fn rejects_empty_route_hints() {
    for length in [0, 1] {
        let answer = read(&written().with('r', &vec![0; length]));
        let refused = matches!(answer, Err(DecodeError::EmptyRouteHint));
        assert!(refused, "{answer:?}");
    }
}

#[test]
fn ignores_invalid_fallback_addresses() {
    let fallback = |version: u8, length: usize| {
        let program = bytes(&vec![9; length]);
        let invoice = read(&written().with('f', &[&[version][..], &program].concat()));
        invoice.unwrap().fallback
    };
    for (version, length) in [(0, 20), (0, 32), (1, 32), (17, 20), (18, 20)] {
        assert!(fallback(version, length).is_some(), "{version}, {length}");
    }
    for (version, length) in [
        (0, 21),
        (0, 2),
        (1, 20),
        (1, 2),
        (1, 40),
        (2, 32),
        (16, 20),
        (19, 20),
    ] {
        assert_eq!(fallback(version, length), None, "{version}, {length}");
    }
}

#[test]
fn uses_the_first_valid_fallback_address() {
    let invoice = written()
        .with('f', &[&[1][..], &bytes(&[9; 20])].concat())
        .with('f', &[&[17][..], &bytes(&[9; 20])].concat());
    let address = read(&invoice).unwrap().fallback.unwrap();
    assert!(address.starts_with(['m', 'n']), "{address}");
}

proptest! {
    /// Arbitrary contents in any encoding: either rejected, or signed by the payee.
    #[test]
    fn payee_is_always_the_signer(
        amount in "(0{0,2}[1-9][0-9]{0,5}[munp]?)?",
        fields in prop::collection::vec(
            (prop::sample::select(&b"pshdmxcfr9q2n"[..]), prop::collection::vec(0..32u8, 0..60)), 0..6),
        numbers in prop::collection::vec(
            (prop::sample::select(&b"xc9"[..]), 0..100_000u64, 0..13usize), 0..4),
    ) {
        let mut invoice = WrittenInvoice::new(&format!("lnbcrt{amount}"));
        for (tag, value) in &fields {
            invoice = invoice.with(char::from(*tag), value);
        }
        for (tag, value, length) in numbers {
            invoice = invoice.with(char::from(tag), &number(value, length));
        }
        if let Ok(read) = read(&invoice) {
            prop_assert_eq!(read.destination, key());
        }
    }

    /// Fields that need not be minimal are accepted in any length.
    #[test]
    fn accepts_numbers_of_any_length(
        numbers in prop::collection::vec(
            (prop::sample::select(&b"xc"[..]), 0..1_000u64, 2..20usize), 0..4),
    ) {
        let mut invoice = written();
        for (tag, value, length) in &numbers {
            invoice = invoice.with(char::from(*tag), &number(*value, *length));
        }
        let first = |wanted| numbers.iter().find(|(tag, ..)| *tag == wanted).map(|(_, value, _)| *value);
        let read = read(&invoice).unwrap();
        prop_assert_eq!(read.destination, key());
        prop_assert_eq!(read.expiry, first(b'x').unwrap_or(DEFAULT_EXPIRY));
        prop_assert_eq!(read.cltv_delta, first(b'c').unwrap_or(DEFAULT_CLTV_DELTA));
    }
}
