//! Reading payment requests, AMP ones too.
//!
//! lightning-invoice's `Bolt11Invoice` refuses feature bit 30 as unknown, so this reads the raw form
//! and checks what BOLT 11 asks of a reader: the signature (over the data as received), a payment
//! hash, one description, no required feature that we do not know.

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
/// Seconds, if the invoice has no `x` field (BOLT 11).
const DEFAULT_EXPIRY: u64 = 3_600;
/// Blocks, if the invoice has no `c` field (BOLT 11).
const DEFAULT_CLTV_DELTA: u64 = 18;

/// Why a payment request is not one that can be paid.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("not a payment request: {0}")]
    Malformed(String),
    #[error("the signature of the payment request is wrong")]
    Signature,
    #[error("the payment request has no {0}")]
    Missing(&'static str),
    #[error("both description and description hash set")]
    TwoDescriptions,
    #[error("route hint field contains no hop data")]
    EmptyRouteHint,
    #[error("the payment request's amount begins with a zero, which BOLT 11 forbids")]
    LeadingZero,
    #[error("the payment request's feature bits begin with zeros, which BOLT 11 forbids")]
    PaddedFeatures,
    #[error("the payment request needs features that this node does not know: bits {0:?}")]
    UnknownFeatures(Vec<usize>),
    #[error("the payment request's amount is not a whole number of millisatoshis")]
    Fraction,
    #[error("the payment request's amount is more than all bitcoin that there will be")]
    TooMuch,
    #[error("the payment request is for simnet, a network that this node does not know")]
    Simnet,
}

/// What a payment request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedInvoice {
    pub network: Network,
    pub destination: PublicKey,
    pub payment_hash: PaymentHash,
    pub payment_secret: PaymentSecret,
    pub payment_metadata: Option<Vec<u8>>,
    /// `None`: the payer chooses.
    pub amount_msat: Option<u64>,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Seconds from `timestamp`.
    pub expiry: u64,
    /// Blocks.
    pub cltv_delta: u64,
    pub description: String,
    pub description_hash: Option<[u8; 32]>,
    pub fallback: Option<String>,
    pub route_hints: Vec<RouteHint>,
    /// Bit numbers, ascending.
    pub features: Vec<usize>,
}

impl DecodedInvoice {
    /// Bit 30 or 31: to be paid with AMP.
    pub fn is_amp(&self) -> bool {
        self.has_feature(AMP_REQUIRED) || self.has_feature(AMP_OPTIONAL)
    }

    /// Bit 16 or 17: may be paid in parts.
    pub fn is_multi_part(&self) -> bool {
        self.has_feature(16) || self.has_feature(17)
    }

    /// Seconds since 1970.
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

/// QR codes hold it in upper case: they are smaller then.
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

/// 1 pico-BTC is a tenth of a millisatoshi. An amount beyond u64 is not the same as none.
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
    // What LDK calls unknown is fine if it is AMP alone.
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

/// The required bits that a payer may meet in an invoice: TLV onion, payment secret, MPP, route
/// blinding, payment metadata (BOLT 9).
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

/// None if nobody could spend what is sent there, or everybody: BOLT 11 has a reader skip witness
/// versions that it does not know, and of those that it does, BIP 141 and 341 define these lengths.
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
