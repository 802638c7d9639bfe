//! Payment requests: fields, limits, and agreement with lnd.

use bitcoin::hashes::hash160;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{PubkeyHash, ScriptHash, WitnessProgram, WitnessVersion};
use lightning_invoice::{Bolt11Invoice, SignedRawBolt11Invoice};
use lightning_types::payment::PaymentHash;
use lightning_types::routing::{RouteHint, RouteHintHop, RoutingFees};
use proptest::prelude::*;
use serde_json::Value;

use super::super::{Expiry, Purpose};
use super::*;
use crate::invoices::decode::DecodedInvoice;

mod printer;

const LND: &str = include_str!("../../../../tests/data/lnd_invoices.json");
const PUBLISHED: &str = include_str!("../../../../tests/data/amp_invoices.json");

fn keys() -> KeysManager {
    KeysManager::new(&[7; 32], 1, 1, true)
}

/// Encodes the fields of an lnd invoice with our code; the signature is lnd's.
fn built_again(text: &str) -> String {
    let said: DecodedInvoice = text.parse().unwrap();
    let new = NewInvoice {
        purpose: Purpose::Amp,
        memo: said.description,
        description_hash: said.description_hash,
        value_msat: said.amount_msat.unwrap_or(0),
        expiry: Expiry::Seconds(said.expiry),
        fallback: said.fallback.map(|address| address.parse().unwrap()),
        route_hints: said.route_hints,
        ..NewInvoice::default()
    };
    // Not through `check`, because lnd accepts smaller deltas than LDK.
    let checked = Checked {
        expiry: said.expiry,
        never_expires: false,
        cltv_delta: said.cltv_delta.try_into().unwrap(),
    };
    let (hash, secret) = (said.payment_hash, said.payment_secret);
    let raw = unsigned(said.network, &new, &checked, hash, secret, said.timestamp).unwrap();
    let lnd: SignedRawBolt11Invoice = text.parse().unwrap();
    let signature = lnd.signature().0;
    raw.sign(|_| Ok::<_, ()>(signature)).unwrap().to_string()
}

#[test]
fn amp_invoices_have_lnd_fields_in_lnd_order() {
    let lnd: Vec<Value> = serde_json::from_str(LND).unwrap();
    let published: Value = serde_json::from_str(PUBLISHED).unwrap();
    let lnd = lnd
        .iter()
        .map(|invoice| &invoice["addinvoice"]["payment_request"]);
    let published = published["invoices"].as_array().unwrap().iter();
    let texts = lnd.chain(published.map(|invoice| &invoice["bolt11"]));
    let texts: Vec<&str> = texts.map(|text| text.as_str().unwrap()).collect();
    let is_amp = |text: &&&str| text.parse::<DecodedInvoice>().unwrap().is_amp();
    let amp: Vec<&&str> = texts.iter().filter(is_amp).collect();
    assert_eq!(amp.len(), 8);
    for text in amp {
        assert_eq!(&built_again(text), text);
    }
}

#[test]
fn encodes_amounts_in_the_shortest_form() {
    for (msat, text) in [
        (0, "lnbcrt"),
        (1, "lnbcrt10p"),
        (10, "lnbcrt100p"),
        (100, "lnbcrt1n"),
        (1_000, "lnbcrt10n"),
        (123_456, "lnbcrt1234560p"),
        (900_000_000, "lnbcrt9m"),
        (100_000_000_000, "lnbcrt1"),
        (10_000_000_000_000_000, "lnbcrt100000"),
    ] {
        let hrp = start(Network::Regtest, msat).unwrap();
        assert_eq!(hrp.to_string(), text);
    }
    let error = start(Network::Regtest, u64::MAX).unwrap_err();
    assert!(matches!(error, InvoiceError::AmountTooLarge(u64::MAX)));
}

fn with_fallback(address: &str, network: Network) -> Result<String, InvoiceError> {
    let new = NewInvoice {
        fallback: Some(address.parse().unwrap()),
        ..NewInvoice::default()
    };
    let keys = keys();
    let signer = Signer {
        keys: &keys,
        network,
    };
    let checked = new.check(80).unwrap();
    signer.request(
        &new,
        &checked,
        PaymentHash([1; 32]),
        PaymentSecret([2; 32]),
        1,
    )
}

#[test]
fn rejects_fallback_addresses_of_other_networks() {
    let regtest = "bcrt1q8an5cqcaqp8zakm09llck4vmzqz6l4wed28pm6";
    assert!(with_fallback(regtest, Network::Regtest).is_ok());
    let error = with_fallback(regtest, Network::Bitcoin).unwrap_err();
    assert_eq!(error.to_string(), "fallback address is not for mainnet");
    let error = with_fallback(regtest, Network::Testnet4).unwrap_err();
    assert_eq!(error.to_string(), "fallback address is not for testnet4");
}

#[test]
fn rejects_oversized_payment_requests() {
    let new = NewInvoice {
        route_hints: vec![RouteHint(vec![hop(3, 1, 2, 80); 12]); 7],
        ..NewInvoice::default()
    };
    let keys = keys();
    let signer = Signer {
        keys: &keys,
        network: Network::Regtest,
    };
    let request = |new: &NewInvoice| {
        let checked = new.check(80).unwrap();
        signer.request(
            new,
            &checked,
            PaymentHash([1; 32]),
            PaymentSecret([2; 32]),
            1,
        )
    };
    let error = request(&new).unwrap_err();
    assert!(
        matches!(error, InvoiceError::RequestTooLong(7_000..)),
        "{error}"
    );
    let too_many_hops = NewInvoice {
        route_hints: vec![RouteHint(vec![hop(3, 1, 2, 80); 13])],
        ..new
    };
    assert!(matches!(
        request(&too_many_hops),
        Err(InvoiceError::Build(_))
    ));
}

fn hop(key: u8, scid: u64, fee: u32, cltv_expiry_delta: u16) -> RouteHintHop {
    let key = SecretKey::from_slice(&[key; 32]).unwrap();
    RouteHintHop {
        src_node_id: PublicKey::from_secret_key(&Secp256k1::new(), &key),
        short_channel_id: scid,
        fees: RoutingFees {
            base_msat: fee,
            proportional_millionths: !fee,
        },
        cltv_expiry_delta,
        htlc_minimum_msat: None,
        htlc_maximum_msat: None,
    }
}

fn any_hints() -> impl Strategy<Value = Vec<RouteHint>> {
    let values = (1..255u8, any::<u64>(), any::<u32>(), any::<u16>());
    let any_hop = values.prop_map(|(key, scid, fee, delta)| hop(key, scid, fee, delta));
    let hint = prop::collection::vec(any_hop, 1..4).prop_map(RouteHint);
    prop::collection::vec(hint, 0..4)
}

const NETWORKS: [Network; 5] = [
    Network::Bitcoin,
    Network::Testnet,
    Network::Testnet4,
    Network::Signet,
    Network::Regtest,
];

/// P2PKH, P2SH, or a witness program.
fn any_address() -> impl Strategy<Value = (Network, Option<Address<NetworkUnchecked>>)> {
    let kinds = (0..6u8, any::<[u8; 32]>(), prop::sample::select(&NETWORKS));
    kinds.prop_map(|(kind, bytes, network)| {
        let hash = hash160::Hash::from_slice(&bytes[..20]).unwrap();
        let witness = |version, program: &[u8]| {
            let program = WitnessProgram::new(version, program).unwrap();
            Address::from_witness_program(program, network)
        };
        let address = match kind {
            0 => return (network, None),
            1 => Address::p2pkh(PubkeyHash::from_raw_hash(hash), network),
            2 => Address::p2sh_from_hash(ScriptHash::from_raw_hash(hash), network),
            3 => witness(WitnessVersion::V0, &bytes[..20]),
            4 => witness(WitnessVersion::V0, &bytes),
            _ => witness(WitnessVersion::V1, &bytes),
        };
        (network, Some(address.as_unchecked().clone()))
    })
}

prop_compose! {
    fn any_invoice()(
        purpose in prop::sample::select(&[
            Purpose::Amp, Purpose::Hold { hash: PaymentHash([1; 32]) }, Purpose::Once { preimage: None },
        ]),
        memo in "\\PC{0,150}",
        description_hash: Option<[u8; 32]>,
        value_msat in prop_oneof![
            Just(0), 1..1_000_000u64, 0..=super::super::MAX_AMOUNT_MSAT,
            (0..=100_000u64).prop_map(|btc| btc * 100_000_000_000),
        ],
        seconds in prop::option::of(1..=super::super::MAX_EXPIRY),
        cltv_delta in prop_oneof![Just(0), 42..=65_535u64],
        (network, fallback) in any_address(),
        private: bool,
        route_hints in any_hints(),
    ) -> (Network, NewInvoice) {
        let expiry = match seconds {
            Some(seconds) => Expiry::Seconds(seconds),
            None if purpose == Purpose::Amp => Expiry::Never,
            None => Expiry::Default,
        };
        let new = NewInvoice {
            purpose, memo, description_hash, value_msat, expiry, cltv_delta, fallback, private,
            route_hints,
        };
        (network, new)
    }
}

/// A created request decodes to the requested values.
fn check_read(read: &DecodedInvoice, network: Network, new: &NewInvoice, checked: &Checked) {
    // Both networks have the same prefix.
    let network = match network {
        Network::Testnet4 => Network::Testnet,
        network => network,
    };
    assert_eq!(read.network, network);
    assert_eq!(read.amount_msat.unwrap_or(0), new.value_msat);
    assert_eq!(
        read.amount_msat,
        Some(new.value_msat).filter(|msat| *msat > 0)
    );
    assert_eq!(read.expiry, checked.expiry);
    assert_eq!(read.cltv_delta, u64::from(checked.cltv_delta));
    assert_eq!(read.description_hash, new.description_hash);
    match new.description_hash {
        Some(_) => assert_eq!(read.description, ""),
        None => assert_eq!(read.description, new.memo),
    }
    let fallback = new.fallback.clone().map(|a| a.assume_checked().to_string());
    assert_eq!(read.fallback, fallback);
    assert_eq!(read.route_hints, new.route_hints);
    assert_eq!(read.payment_metadata, None);
    let features = match new.purpose {
        Purpose::Amp => AMP_FEATURES,
        Purpose::Once { .. } | Purpose::Hold { .. } => ORDINARY_FEATURES,
    };
    assert_eq!(read.features, features);
}

proptest! {
    #[test]
    fn created_requests_round_trip(
        (network, new) in any_invoice(),
        hash: [u8; 32], secret: [u8; 32], now in 0..1u64 << 32,
    ) {
        let keys = keys();
        let signer = Signer { keys: &keys, network };
        let checked = new.check(80).unwrap();
        let (hash, secret) = (PaymentHash(hash), PaymentSecret(secret));
        let text = signer.request(&new, &checked, hash, secret, now).unwrap();

        let read: DecodedInvoice = text.parse().unwrap();
        check_read(&read, network, &new, &checked);
        prop_assert_eq!((read.payment_hash, read.payment_secret), (hash, secret));
        prop_assert_eq!(read.timestamp, now);
        let node_id = keys.get_node_id(Recipient::Node).unwrap();
        prop_assert_eq!(read.destination, node_id);

        let raw: SignedRawBolt11Invoice = text.parse().unwrap();
        prop_assert_eq!(raw.to_string(), text.as_str());
        let printed = printer::print(&read, &keys.get_node_secret_key());
        prop_assert_eq!(printed, text.as_str());
        // LDK does not know the AMP feature, so a payer on plain LDK must reject it.
        prop_assert_eq!(text.parse::<Bolt11Invoice>().is_ok(), new.purpose != Purpose::Amp);
    }
}
