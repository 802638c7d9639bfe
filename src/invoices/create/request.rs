//! The payment request of an invoice (BOLT 11), with exactly lnd's fields in lnd's order.
//!
//! lightning-invoice's `InvoiceBuilder` does not support AMP, so this fills in the raw form.

use bitcoin::address::{AddressData, NetworkUnchecked};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Address, Network};
use lightning::ln::inbound_payment;
use lightning::sign::{NodeSigner, Recipient};
use lightning_invoice::{
    Currency, Description, ExpiryTime, Fallback, MinFinalCltvExpiryDelta, PositiveTimestamp,
    PrivateRoute, RawBolt11Invoice, RawDataPart, RawHrp, Sha256, SiPrefix, TaggedField,
};
use lightning_types::features::Bolt11InvoiceFeatures;
use lightning_types::payment::{PaymentHash, PaymentSecret};

use super::{Checked, NewInvoice};
use crate::invoices::InvoiceError;
use crate::ldk::KeysManager;
use lnd_api::layout::network_name;

/// TLV onion, payment address and AMP required, nothing else (as lnd): a payer without AMP support
/// must not try MPP.
const AMP_FEATURES: [usize; 3] = [8, 14, 30];
/// TLV onion and payment address required, MPP optional.
const ORDINARY_FEATURES: [usize; 3] = [8, 14, 17];
/// lnd's limit for the payment request, in bytes.
const MAX_REQUEST: usize = 4_096;
/// How long LDK accepts a payment after the invoice has expired, in seconds: the registry decides
/// by our clock, LDK by the time in block headers.
const GRACE: u64 = 7_200;
const PICO_PER_MSAT: u64 = 10;
const PICO_PER_BTC: u64 = 1_000_000_000_000;

/// Signs payment requests with the node's key.
pub(in crate::invoices) struct Signer<'a> {
    pub(in crate::invoices) keys: &'a KeysManager,
    pub(in crate::invoices) network: Network,
}

impl Signer<'_> {
    /// Returns the payment secret by which LDK recognizes payments to this hash.
    pub(in crate::invoices) fn payment_secret(
        &self,
        new: &NewInvoice,
        checked: &Checked,
        hash: PaymentHash,
        now: u64,
    ) -> Result<PaymentSecret, InvoiceError> {
        let expiry = u32::try_from(checked.expiry.saturating_add(GRACE)).unwrap_or(u32::MAX);
        let amount = (new.value_msat > 0).then_some(new.value_msat);
        let keys = self.keys.get_expanded_key();
        inbound_payment::create_from_hash(&keys, amount, hash, expiry, now, None)
            .map_err(|()| InvoiceError::Build("LDK rejects its amount or expiry".into()))
    }

    /// Returns the signed payment request.
    pub(in crate::invoices) fn request(
        &self,
        new: &NewInvoice,
        checked: &Checked,
        hash: PaymentHash,
        secret: PaymentSecret,
        now: u64,
    ) -> Result<String, InvoiceError> {
        let raw = unsigned(self.network, new, checked, hash, secret, now)?;
        let signature = self.keys.sign_invoice(&raw, Recipient::Node);
        let signed = raw.sign(|_| signature);
        let signed = signed.map_err(|()| build("it cannot be signed"))?;
        let text = signed.to_string();
        if text.len() > MAX_REQUEST {
            return Err(InvoiceError::RequestTooLong(text.len()));
        }
        Ok(text)
    }
}

fn unsigned(
    network: Network,
    new: &NewInvoice,
    checked: &Checked,
    hash: PaymentHash,
    secret: PaymentSecret,
    now: u64,
) -> Result<RawBolt11Invoice, InvoiceError> {
    let cltv_delta = MinFinalCltvExpiryDelta(u64::from(checked.cltv_delta));
    let mut fields = vec![
        TaggedField::PaymentHash(sha_256(hash.0)),
        description(new)?,
        TaggedField::MinFinalCltvExpiryDelta(cltv_delta),
        TaggedField::ExpiryTime(ExpiryTime::from_seconds(checked.expiry)),
    ];
    if let Some(address) = &new.fallback {
        fields.push(TaggedField::Fallback(fallback(address, network)?));
    }
    for hint in &new.route_hints {
        let route = PrivateRoute::new(hint.clone()).map_err(build)?;
        fields.push(TaggedField::PrivateRoute(route));
    }
    fields.push(TaggedField::PaymentSecret(secret));
    fields.push(TaggedField::Features(features(new)));
    Ok(RawBolt11Invoice {
        hrp: start(network, new.value_msat)?,
        data: RawDataPart {
            timestamp: PositiveTimestamp::from_unix_timestamp(now).map_err(build)?,
            tagged_fields: fields.into_iter().map(Into::into).collect(),
        },
    })
}

fn build(why: impl ToString) -> InvoiceError {
    InvoiceError::Build(why.to_string())
}

/// Network and amount, in the shortest form (BOLT 11).
fn start(network: Network, value_msat: u64) -> Result<RawHrp, InvoiceError> {
    let too_large = InvoiceError::AmountTooLarge(value_msat);
    let pico = value_msat.checked_mul(PICO_PER_MSAT).ok_or(too_large)?;
    let prefixes = SiPrefix::values_desc().iter();
    let prefixes = prefixes.map(|prefix| (Some(*prefix), prefix.multiplier()));
    let units = std::iter::once((None, PICO_PER_BTC)).chain(prefixes);
    let largest = units
        .into_iter()
        .find(|(_, size)| pico.is_multiple_of(*size));
    let (si_prefix, raw_amount) = match largest {
        Some((prefix, size)) if pico > 0 => (prefix, Some(pico / size)),
        _ => (None, None),
    };
    Ok(RawHrp {
        currency: currency(network),
        raw_amount,
        si_prefix,
    })
}

fn description(new: &NewInvoice) -> Result<TaggedField, InvoiceError> {
    match new.description_hash {
        Some(hash) => Ok(TaggedField::DescriptionHash(sha_256(hash))),
        None => Description::new(new.memo.clone())
            .map(TaggedField::Description)
            .map_err(build),
    }
}

fn fallback(
    address: &Address<NetworkUnchecked>,
    network: Network,
) -> Result<Fallback, InvoiceError> {
    let other_network = |_| InvoiceError::FallbackNetwork(network_name(network));
    let address = address.clone().require_network(network);
    match address.map_err(other_network)?.to_address_data() {
        AddressData::P2pkh { pubkey_hash } => Ok(Fallback::PubKeyHash(pubkey_hash)),
        AddressData::P2sh { script_hash } => Ok(Fallback::ScriptHash(script_hash)),
        AddressData::Segwit { witness_program } => Ok(Fallback::SegWitProgram {
            version: witness_program.version(),
            program: witness_program.program().as_bytes().to_vec(),
        }),
        _ => Err(build("BOLT 11 cannot encode this type of fallback address")),
    }
}

fn features(new: &NewInvoice) -> Bolt11InvoiceFeatures {
    let bits = if new.purpose.is_amp() {
        AMP_FEATURES
    } else {
        ORDINARY_FEATURES
    };
    let mut flags = vec![0; 4];
    for bit in bits {
        flags[bit / 8] |= 1 << (bit % 8);
    }
    Bolt11InvoiceFeatures::from_le_bytes(flags)
}

fn sha_256(bytes: [u8; 32]) -> Sha256 {
    Sha256(sha256::Hash::from_byte_array(bytes))
}

fn currency(network: Network) -> Currency {
    match network {
        Network::Bitcoin => Currency::Bitcoin,
        Network::Regtest => Currency::Regtest,
        Network::Signet => Currency::Signet,
        Network::Testnet | Network::Testnet4 => Currency::BitcoinTestnet,
    }
}

#[cfg(test)]
mod tests;
