//! Any text as a payment request: what lightning-invoice makes of it as well is the same.
//!
//! The input is the text, or its human-readable part and its data in two lines, without signature and
//! checksum, which are added. Data that are not bech32 characters are taken modulo 32.
#![no_main]

use std::str::FromStr;
use std::sync::LazyLock;

use ampd::invoices::decode::{DecodeError, DecodedInvoice};
use bitcoin::bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
use bitcoin::bech32::{Fe32, Hrp};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};
use libfuzzer_sys::fuzz_target;
use lightning_invoice::{
    Bolt11Bech32, Bolt11Invoice, Bolt11SemanticError, Currency, ParseOrSemanticError,
};

static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);
static SECRET: LazyLock<SecretKey> =
    LazyLock::new(|| SecretKey::from_slice(&[5; 32]).expect("a valid key"));
static PAYEE: LazyLock<PublicKey> = LazyLock::new(|| SECRET.public_key(&SECP));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = decoded(text);
    }
    let Some(decoded) = written(bytes).and_then(|text| decoded(&text)) else {
        return;
    };
    assert_eq!(decoded.destination, *PAYEE);
    let _ = (
        decoded.is_amp(),
        decoded.is_multi_part(),
        decoded.expires_at(),
    );
});

fn written(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (hrp, data) = (str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let hrp = Hrp::parse(hrp).ok()?;
    let quintet =
        |byte: &u8| Fe32::from_char((*byte).into()).or_else(|_| Fe32::try_from(*byte & 31));
    let data: Vec<Fe32> = data.iter().map(quintet).collect::<Result<_, _>>().ok()?;

    let mut signed = hrp.to_lowercase().into_bytes();
    let padded = data.iter().copied().chain([Fe32::Q, Fe32::Q]);
    signed.extend(padded.fes_to_bytes().take((data.len() * 5).div_ceil(8)));
    let digest = Message::from_digest(sha256::Hash::hash(&signed).to_byte_array());
    let signature = SECP.sign_ecdsa_recoverable(&digest, &SECRET);
    let (recovery_id, signature) = signature.serialize_compact();
    let recovery_id = u8::try_from(recovery_id.to_i32()).ok()?;
    let signature = signature.into_iter().chain([recovery_id]).bytes_to_fes();
    let whole = data.into_iter().chain(signature);
    Some(whole.with_checksum::<Bolt11Bech32>(&hrp).chars().collect())
}

fn decoded(text: &str) -> Option<DecodedInvoice> {
    match (
        DecodedInvoice::from_str(text),
        Bolt11Invoice::from_str(text),
    ) {
        (Ok(ours), theirs) => {
            match &theirs {
                Ok(theirs) => agree(&ours, theirs, text),
                Err(ParseOrSemanticError::SemanticError(error)) => may_be_accepted(error),
                // A scheme or white space around it, which lightning-invoice does not know.
                Err(ParseOrSemanticError::ParseError(_)) => {}
            }
            Some(ours)
        }
        (Err(error), Ok(theirs)) => {
            assert!(is_stricter(&error, &theirs, text), "{error}");
            None
        }
        (Err(_), Err(_)) => None,
    }
}

fn agree(ours: &DecodedInvoice, theirs: &Bolt11Invoice, text: &str) {
    assert_eq!(ours.network, theirs.network());
    assert_eq!(ours.payment_hash.0, theirs.payment_hash().to_byte_array());
    assert_eq!(ours.payment_secret, *theirs.payment_secret());
    assert_eq!(ours.payment_metadata.as_ref(), theirs.payment_metadata());
    assert_eq!(ours.amount_msat, theirs.amount_milli_satoshis());
    assert_eq!(ours.timestamp, theirs.duration_since_epoch().as_secs());
    assert_eq!(ours.expiry, theirs.expiry_time().as_secs());
    assert_eq!(ours.cltv_delta, theirs.min_final_cltv_expiry_delta());
    assert_eq!(ours.route_hints, theirs.route_hints());
    if is_canonical(theirs, text) {
        assert_eq!(ours.destination, theirs.get_payee_pub_key());
    }
}

/// lightning-invoice verifies the signature over its own encoding, and recovers a wrong key if that is
/// another one than was signed.
fn is_canonical(theirs: &Bolt11Invoice, text: &str) -> bool {
    theirs.to_string() == text.to_lowercase()
}

/// lightning-invoice refuses AMP, and more than one of a field of which only the first counts.
fn may_be_accepted(error: &Bolt11SemanticError) {
    use Bolt11SemanticError::{ImpreciseAmount, NoDescription, NoPaymentHash, NoPaymentSecret};
    let must_be_refused = matches!(
        error,
        ImpreciseAmount | NoDescription | NoPaymentHash | NoPaymentSecret
    );
    assert!(!must_be_refused, "{error}");
}

fn is_stricter(error: &DecodeError, theirs: &Bolt11Invoice, text: &str) -> bool {
    match error {
        DecodeError::EmptyRouteHint
        | DecodeError::LeadingZero
        | DecodeError::PaddedFeatures
        | DecodeError::TooMuch => true,
        DecodeError::Simnet => theirs.currency() == Currency::Simnet,
        DecodeError::Signature => !is_canonical(theirs, text),
        _ => false,
    }
}
