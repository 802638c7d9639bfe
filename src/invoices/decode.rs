//! Decoding payment requests, including those for AMP.
//!
//! lightning-invoice's `Bolt11Invoice` rejects feature bit 30 as unknown. This module therefore
//! reads the raw form and makes the checks that BOLT 11 requires of a reader: the signature (over
//! the data as received), a payment hash, exactly one description, and no unknown required feature.

mod received;

use std::str::FromStr;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, Network, WitnessProgram, WitnessVersion};
use lightning_invoice::{Currency, Fallback, RawBolt11Invoice, SignedRawBolt11Invoice};
use lightning_types::features::Bolt11InvoiceFeatures;
use lightning_types::payment::{PaymentHash, PaymentSecret};
use lightning_types::routing::RouteHint;

use self::received::Received;

/// Feature bit "AMP required" (lnd).
const AMP_REQUIRED: usize = 30;
/// Feature bit "AMP optional" (lnd).
const AMP_OPTIONAL: usize = 31;
/// Expiry in seconds if the invoice has no `x` field (BOLT 11).
const DEFAULT_EXPIRY: u64 = 3_600;
/// Final CLTV delta in blocks if the invoice has no `c` field (BOLT 11).
const DEFAULT_CLTV_DELTA: u64 = 18;

/// Why a payment request cannot be paid.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("not a payment request: {0}")]
    Malformed(String),
    #[error("the payment request has an invalid signature")]
    Signature,
    #[error("the payment request has no {0}")]
    Missing(&'static str),
    #[error("both description and description hash set")]
    TwoDescriptions,
    #[error("route hint field contains no hop data")]
    EmptyRouteHint,
    #[error("the payment request's amount has a leading zero, which BOLT 11 forbids")]
    LeadingZero,
    #[error("the payment request's feature bits have leading zeros, which BOLT 11 forbids")]
    PaddedFeatures,
    #[error("the payment request requires features that this node does not support: bits {0:?}")]
    UnknownFeatures(Vec<usize>),
    #[error("the payment request's amount is not a whole number of millisatoshis")]
    Fraction,
    #[error("the payment request's amount exceeds 21 million BTC")]
    TooMuch,
    #[error("the payment request is for simnet, which this node does not support")]
    Simnet,
}

/// The contents of a payment request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedInvoice {
    pub network: Network,
    pub destination: PublicKey,
    pub payment_hash: PaymentHash,
    pub payment_secret: PaymentSecret,
    pub payment_metadata: Option<Vec<u8>>,
    /// In msat; `None`: the payer chooses.
    pub amount_msat: Option<u64>,
    /// In seconds since 1970.
    pub timestamp: u64,
    /// In seconds from `timestamp`.
    pub expiry: u64,
    /// The final CLTV delta, in blocks.
    pub cltv_delta: u64,
    pub description: String,
    pub description_hash: Option<[u8; 32]>,
    pub fallback: Option<String>,
    pub route_hints: Vec<RouteHint>,
    /// Numbers of the set bits, ascending.
    pub features: Vec<usize>,
}

impl DecodedInvoice {
    /// Returns whether the invoice is paid with AMP (feature bit 30 or 31).
    pub fn is_amp(&self) -> bool {
        self.has_feature(AMP_REQUIRED) || self.has_feature(AMP_OPTIONAL)
    }

    /// Returns whether it can be paid in several parts (feature bit 16 or 17).
    pub fn is_multi_part(&self) -> bool {
        self.has_feature(16) || self.has_feature(17)
    }

    /// When it expires, in seconds since 1970.
    pub fn expires_at(&self) -> u64 {
        self.timestamp.saturating_add(self.expiry)
    }

    fn has_feature(&self, bit: usize) -> bool {
        self.features.contains(&bit)
    }
}

impl FromStr for DecodedInvoice {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let text = without_scheme(text.trim());
        let signed = SignedRawBolt11Invoice::from_str(text)
            .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        let received = Received::parse(text)?;
        received.check_encoding()?;
        let raw = signed.raw_invoice();
        let stated = raw.payee_pub_key().map(|key| key.0);
        let destination = received.signer(signed.signature(), stated)?;
        decode(raw, destination)
    }
}

/// The scheme may be in upper case, which makes QR codes smaller.
fn without_scheme(text: &str) -> &str {
    const SCHEME: &str = "lightning:";
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
        _ => text,
    }
}

fn decode(raw: &RawBolt11Invoice, destination: PublicKey) -> Result<DecodedInvoice, DecodeError> {
    let features = raw.features().map(set_bits).unwrap_or_default();
    refuse_unknown(raw.features(), &features)?;
    let network = network(raw.currency())?;
    let description = raw.description().map(|d| d.as_inner().0.clone());
    let description_hash = raw.description_hash().map(|hash| hash.0.to_byte_array());
    match (&description, &description_hash) {
        (None, None) => return Err(DecodeError::Missing("description")),
        (Some(_), Some(_)) => return Err(DecodeError::TwoDescriptions),
        _ => {}
    }
    let payment_hash = raw
        .payment_hash()
        .ok_or(DecodeError::Missing("payment hash"))?;
    let payment_secret = raw
        .payment_secret()
        .ok_or(DecodeError::Missing("payment address"))?;
    Ok(DecodedInvoice {
        network,
        destination,
        payment_hash: PaymentHash(payment_hash.0.to_byte_array()),
        payment_secret: *payment_secret,
        payment_metadata: raw.payment_metadata().cloned(),
        amount_msat: amount_msat(raw)?,
        timestamp: raw.data.timestamp.as_unix_timestamp(),
        expiry: raw.expiry_time().map_or(DEFAULT_EXPIRY, |x| x.as_seconds()),
        cltv_delta: raw
            .min_final_cltv_expiry_delta()
            .map_or(DEFAULT_CLTV_DELTA, |c| c.0),
        description: description.unwrap_or_default(),
        description_hash,
        fallback: raw
            .fallbacks()
            .into_iter()
            .find_map(|f| fallback_address(f, network)),
        route_hints: route_hints(raw)?,
        features,
    })
}

fn route_hints(raw: &RawBolt11Invoice) -> Result<Vec<RouteHint>, DecodeError> {
    let hints = raw.private_routes().into_iter();
    let hints: Vec<RouteHint> = hints.map(|hint| (**hint).clone()).collect();
    match hints.iter().any(|hint| hint.0.is_empty()) {
        true => Err(DecodeError::EmptyRouteHint),
        false => Ok(hints),
    }
}

/// One pico-BTC is a tenth of a msat. An amount beyond u64 must not be taken for "no amount".
fn amount_msat(raw: &RawBolt11Invoice) -> Result<Option<u64>, DecodeError> {
    if raw.hrp.raw_amount.is_none() {
        return Ok(None);
    }
    let pico = raw.amount_pico_btc().ok_or(DecodeError::TooMuch)?;
    if pico % 10 == 0 {
        Ok(Some(pico / 10))
    } else {
        Err(DecodeError::Fraction)
    }
}

fn set_bits(features: &Bolt11InvoiceFeatures) -> Vec<usize> {
    let bytes = features.le_flags().iter().enumerate();
    let bits = |(i, byte): (usize, &u8)| {
        let byte = *byte;
        (0..8)
            .filter(move |bit| byte >> bit & 1 == 1)
            .map(move |bit| i * 8 + bit)
    };
    bytes.flat_map(bits).collect()
}

fn refuse_unknown(
    features: Option<&Bolt11InvoiceFeatures>,
    bits: &[usize],
) -> Result<(), DecodeError> {
    let Some(features) = features.filter(|features| features.requires_unknown_bits()) else {
        return Ok(());
    };
    // Bits that LDK does not know are accepted if AMP is the only one.
    let known = Bolt11InvoiceFeatures::empty();
    let unknown = features.required_unknown_bits_from(&known);
    let unknown: Vec<usize> = bits
        .iter()
        .copied()
        .filter(|bit| bit % 2 == 0 && *bit != AMP_REQUIRED)
        .filter(|bit| unknown.contains(&(*bit as u64)) && !is_known(*bit))
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(DecodeError::UnknownFeatures(unknown))
    }
}

/// Returns whether a required bit is one that a payer may find in an invoice (BOLT 9): TLV onion,
/// payment secret, MPP, route blinding, payment metadata.
fn is_known(bit: usize) -> bool {
    matches!(bit, 8 | 14 | 16 | 24 | 48)
}

fn network(currency: Currency) -> Result<Network, DecodeError> {
    match currency {
        Currency::Bitcoin => Ok(Network::Bitcoin),
        Currency::BitcoinTestnet => Ok(Network::Testnet),
        Currency::Regtest => Ok(Network::Regtest),
        Currency::Signet => Ok(Network::Signet),
        Currency::Simnet => Err(DecodeError::Simnet),
    }
}

/// Returns `None` for outputs that nobody or anybody could spend: a reader must skip unknown
/// witness versions (BOLT 11), and for the known ones BIP 141 and 341 define the program lengths.
fn fallback_address(fallback: &Fallback, network: Network) -> Option<String> {
    let address = match fallback {
        Fallback::SegWitProgram { version, program } => {
            match (*version, program.len()) {
                (WitnessVersion::V0, 20 | 32) | (WitnessVersion::V1, 32) => {}
                _ => return None,
            }
            let program = WitnessProgram::new(*version, program).ok()?;
            Address::from_witness_program(program, network)
        }
        Fallback::PubKeyHash(hash) => Address::p2pkh(*hash, network),
        Fallback::ScriptHash(hash) => Address::p2sh_from_hash(*hash, network),
    };
    Some(address.to_string())
}

#[cfg(test)]
mod tests;
