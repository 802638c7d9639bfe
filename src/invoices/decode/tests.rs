//! Decoding of payment requests.

use bitcoin::hex::{DisplayHex, FromHex};
use lightning_invoice::{RawDataPart, RawHrp};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

mod received;

const LND: &str = include_str!("../../../tests/data/lnd_invoices.json");
const PUBLISHED: &str = include_str!("../../../tests/data/amp_invoices.json");

fn lnd_invoices() -> Vec<Value> {
    serde_json::from_str(LND).unwrap()
}

fn text(json: &Value) -> &str {
    json.as_str().unwrap()
}

fn number(json: &Value) -> u64 {
    text(json).parse().unwrap()
}

fn hops(hints: &[RouteHint]) -> Vec<[String; 5]> {
    let hops = hints.iter().flat_map(|hint| &hint.0);
    hops.map(|hop| {
        [
            hop.src_node_id.to_string(),
            hop.short_channel_id.to_string(),
            hop.fees.base_msat.to_string(),
            hop.fees.proportional_millionths.to_string(),
            hop.cltv_expiry_delta.to_string(),
        ]
    })
    .collect()
}

fn json_hops(hints: &Value) -> Vec<[String; 5]> {
    let hints = hints.as_array().unwrap().iter();
    let hops = hints.flat_map(|hint| hint["hop_hints"].as_array().unwrap());
    hops.map(|hop| {
        [
            "node_id",
            "chan_id",
            "fee_base_msat",
            "fee_proportional_millionths",
            "cltv_expiry_delta",
        ]
        .map(|key| hop[key].to_string().trim_matches('"').to_owned())
    })
    .collect()
}

#[test]
fn decodes_invoices_like_lnd() {
    for invoice in lnd_invoices() {
        let request = text(&invoice["addinvoice"]["payment_request"]);
        let decoded: DecodedInvoice = request.parse().unwrap();
        let lnd = &invoice["decodepayreq"];
        assert_eq!(decoded.network, Network::Regtest);
        assert_eq!(decoded.destination.to_string(), text(&lnd["destination"]));
        assert_eq!(decoded.payment_hash.to_string(), text(&lnd["payment_hash"]));
        let addr = decoded.payment_secret.0.to_lower_hex_string();
        assert_eq!(addr, text(&lnd["payment_addr"]));
        assert_eq!(addr, text(&invoice["addinvoice"]["payment_addr"]));
        let amount = Some(number(&lnd["num_msat"])).filter(|msat| *msat > 0);
        assert_eq!(decoded.amount_msat, amount);
        assert_eq!(decoded.timestamp, number(&lnd["timestamp"]));
        assert_eq!(decoded.expiry, number(&lnd["expiry"]));
        assert_eq!(decoded.cltv_delta, number(&lnd["cltv_expiry"]));
        assert_eq!(decoded.description, text(&lnd["description"]));
        let hash = decoded.description_hash.map(|h| h.to_lower_hex_string());
        assert_eq!(hash.unwrap_or_default(), text(&lnd["description_hash"]));
        let fallback = decoded.fallback.clone().unwrap_or_default();
        assert_eq!(fallback, text(&lnd["fallback_addr"]));
        assert_eq!(hops(&decoded.route_hints), json_hops(&lnd["route_hints"]));
        let features = lnd["features"].as_object().unwrap().keys();
        let mut features: Vec<usize> = features.map(|bit| bit.parse().unwrap()).collect();
        features.sort_unstable();
        assert_eq!(decoded.features, features);
        assert_eq!(decoded.is_amp(), features.contains(&30));
        assert_eq!(decoded.is_multi_part(), features.contains(&17));
    }
}

#[test]
fn decodes_published_amp_invoices() {
    let published: Value = serde_json::from_str(PUBLISHED).unwrap();
    for invoice in published["invoices"].as_array().unwrap() {
        let decoded: DecodedInvoice = text(&invoice["bolt11"]).parse().unwrap();
        assert_eq!(decoded.network.to_string(), text(&invoice["network"]));
        assert_eq!(decoded.amount_msat, invoice["amount_msat"].as_u64());
        assert_eq!(Some(decoded.timestamp), invoice["timestamp"].as_u64());
        let hash = decoded.payment_hash.to_string();
        assert_eq!(hash, text(&invoice["payment_hash"]));
        assert_eq!(decoded.description, text(&invoice["description"]));
        assert_eq!(Some(decoded.cltv_delta), invoice["min_final_cltv"].as_u64());
        assert_eq!(Some(decoded.expiry), invoice["expiry"].as_u64());
        let addr = <[u8; 32]>::from_hex(text(&invoice["payment_addr"])).unwrap();
        assert_eq!(decoded.payment_secret.0, addr);
        assert_eq!(decoded.features, [8, 14, 30]);
        if let Some(destination) = invoice["destination"].as_str() {
            assert_eq!(decoded.destination.to_string(), destination);
        }
    }
}

#[test]
fn decoded_invoices_encode_unchanged() {
    let lnd = lnd_invoices().into_iter();
    let lnd = lnd.map(|invoice| invoice["addinvoice"]["payment_request"].clone());
    let published: Value = serde_json::from_str(PUBLISHED).unwrap();
    let published = published["invoices"].as_array().unwrap().iter();
    let published = published.map(|invoice| invoice["bolt11"].clone());
    let all: Vec<Value> = lnd.chain(published).collect();
    assert_eq!(all.len(), 10);
    for request in all {
        let raw: SignedRawBolt11Invoice = text(&request).parse().unwrap();
        assert_eq!(raw.to_string(), text(&request));
    }
}

#[test]
fn accepts_the_lightning_scheme_and_upper_case() {
    let invoice = &lnd_invoices()[0];
    let request = text(&invoice["addinvoice"]["payment_request"]);
    let plain: DecodedInvoice = request.parse().unwrap();
    let upper = request.to_uppercase();
    for text in [
        format!(" lightning:{request}\n"),
        format!("LIGHTNING:{upper}"),
        upper,
    ] {
        assert_eq!(text.parse::<DecodedInvoice>().unwrap(), plain);
    }
}

/// The first invoice of lnd with another human-readable part, signed again.
fn with_hrp(change: impl Fn(&mut RawHrp, &mut RawDataPart)) -> String {
    let invoice = &lnd_invoices()[0];
    let signed: SignedRawBolt11Invoice = text(&invoice["addinvoice"]["payment_request"])
        .parse()
        .unwrap();
    let mut raw = signed.into_parts().0;
    change(&mut raw.hrp, &mut raw.data);
    let secp = bitcoin::secp256k1::Secp256k1::new();
    let key = bitcoin::secp256k1::SecretKey::from_slice(&[1; 32]).unwrap();
    let sign = |hash: &_| Ok::<_, ()>(secp.sign_ecdsa_recoverable(hash, &key));
    raw.sign(sign).unwrap().to_string()
}

#[test]
fn rejects_overflowing_amounts() {
    let request = with_hrp(|hrp, _| (hrp.raw_amount, hrp.si_prefix) = (Some(1 << 62), None));
    let decoded = request.parse::<DecodedInvoice>();
    assert!(matches!(decoded, Err(DecodeError::TooMuch)), "{decoded:?}");
}

#[test]
fn rejects_fractions_of_a_millisatoshi() {
    let request = with_hrp(|hrp, _| {
        hrp.raw_amount = Some(1_001);
        hrp.si_prefix = Some(lightning_invoice::SiPrefix::Pico);
    });
    let decoded = request.parse::<DecodedInvoice>();
    assert!(matches!(decoded, Err(DecodeError::Fraction)), "{decoded:?}");
}

#[test]
fn rejects_simnet_invoices() {
    let request = with_hrp(|hrp, _| hrp.currency = Currency::Simnet);
    let decoded = request.parse::<DecodedInvoice>();
    assert!(matches!(decoded, Err(DecodeError::Simnet)), "{decoded:?}");
}

#[test]
fn rejects_unknown_required_features() {
    use lightning_invoice::{RawTaggedField, TaggedField};
    let request = with_hrp(|_, data| {
        let mut flags = vec![0; 17];
        for bit in [14, 30, 130, 131] {
            flags[bit / 8] |= 1 << (bit % 8);
        }
        let features = Bolt11InvoiceFeatures::from_le_bytes(flags);
        let is_features = |field: &RawTaggedField| {
            matches!(
                field,
                RawTaggedField::KnownSemantics(TaggedField::Features(_))
            )
        };
        data.tagged_fields.retain(|field| !is_features(field));
        let field = TaggedField::Features(features);
        data.tagged_fields
            .push(RawTaggedField::KnownSemantics(field));
    });
    match request.parse::<DecodedInvoice>() {
        Err(DecodeError::UnknownFeatures(bits)) => assert_eq!(bits, [130]),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(garbage in ".{0,200}") {
        prop_assert!(garbage.parse::<DecodedInvoice>().is_err());
    }

    #[test]
    fn invoice_like_text_never_panics(
        text in "(lightning:)?ln(bc|tb|bcrt|tbs|sb)[0-9munp]{0,20}1[a-z0-9]{0,300}",
    ) {
        prop_assert!(text.parse::<DecodedInvoice>().is_err());
    }

    /// A single wrong character breaks the checksum or the signature.
    #[test]
    fn rejects_damaged_invoices(
        which in 0..8usize, place: prop::sample::Index, new in "[a-z0-9]",
    ) {
        let invoice = &lnd_invoices()[which];
        let request = text(&invoice["addinvoice"]["payment_request"]);
        let place = place.index(request.len());
        let mut damaged = request.to_owned();
        damaged.replace_range(place..=place, &new);
        prop_assume!(damaged != request);
        prop_assert!(damaged.parse::<DecodedInvoice>().is_err());
    }

    /// Arbitrary bytes with a valid checksum and signature.
    #[test]
    fn any_signed_content_never_panics(
        fields in prop::collection::vec((0..32u8, prop::collection::vec(0..32u8, 0..60)), 0..8),
        amount: u64,
    ) {
        use bitcoin::bech32::Fe32;
        use lightning_invoice::RawTaggedField;
        let fe = |value: u8| Fe32::try_from(value).unwrap();
        let request = with_hrp(|hrp, data| {
            (hrp.raw_amount, hrp.si_prefix) = (Some(amount), None);
            let unknown = fields.iter().map(|(tag, value)| {
                let length = [value.len() as u8 / 32, value.len() as u8 % 32];
                let bytes = [&[*tag][..], &length, value].concat();
                RawTaggedField::UnknownSemantics(bytes.into_iter().map(fe).collect())
            });
            data.tagged_fields.extend(unknown);
        });
        let _ = request.parse::<DecodedInvoice>();
    }
}
