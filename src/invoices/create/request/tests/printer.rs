//! An independent encoder of payment requests, without lightning-invoice: BOLT 11 and BIP 173 to
//! the letter.

use bitcoin::address::AddressData;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::{Address, Network};

use crate::invoices::decode::DecodedInvoice;

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Encodes an invoice with its fields in lnd's order, signed with this key.
pub(super) fn print(invoice: &DecodedInvoice, key: &SecretKey) -> String {
    let hrp = format!("ln{}{}", currency(invoice.network), amount(invoice));
    let mut data = number(invoice.timestamp, 7);
    for (tag, value) in fields(invoice) {
        data.push(value_of(tag));
        data.extend(number(value.len() as u64, 2));
        data.extend(value);
    }
    let signed = [hrp.as_bytes(), &bytes(&data)].concat();
    let digest = Message::from_digest(sha256::Hash::hash(&signed).to_byte_array());
    let signature = Secp256k1::new().sign_ecdsa_recoverable(&digest, key);
    let (recovery, compact) = signature.serialize_compact();
    let recovery = u8::try_from(recovery.to_i32()).unwrap();
    data.extend(groups(&[&compact[..], &[recovery]].concat()));
    data.extend(checksum(&hrp, &data));
    let chars = data
        .iter()
        .map(|group| char::from(CHARSET[usize::from(*group)]));
    format!("{hrp}1{}", chars.collect::<String>())
}

fn fields(invoice: &DecodedInvoice) -> Vec<(char, Vec<u8>)> {
    let description = match invoice.description_hash {
        Some(hash) => ('h', groups(&hash)),
        None => ('d', groups(invoice.description.as_bytes())),
    };
    let mut fields = vec![
        ('p', groups(&invoice.payment_hash.0)),
        description,
        ('c', shortest(invoice.cltv_delta)),
        ('x', shortest(invoice.expiry)),
    ];
    fields.extend(invoice.fallback.iter().map(|text| ('f', fallback(text))));
    for hint in &invoice.route_hints {
        let mut route = Vec::new();
        for hop in &hint.0 {
            route.extend(hop.src_node_id.serialize());
            route.extend(hop.short_channel_id.to_be_bytes());
            route.extend(hop.fees.base_msat.to_be_bytes());
            route.extend(hop.fees.proportional_millionths.to_be_bytes());
            route.extend(hop.cltv_expiry_delta.to_be_bytes());
        }
        fields.push(('r', groups(&route)));
    }
    fields.push(('s', groups(&invoice.payment_secret.0)));
    fields.push(('9', features(&invoice.features)));
    fields
}

fn currency(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "bc",
        Network::Testnet | Network::Testnet4 => "tb",
        Network::Signet => "tbs",
        Network::Regtest => "bcrt",
    }
}

/// The shortest encoding of the amount.
fn amount(invoice: &DecodedInvoice) -> String {
    let Some(msat) = invoice.amount_msat else {
        return String::new();
    };
    let pico = u128::from(msat) * 10;
    let units = [("", 12), ("m", 9), ("u", 6), ("n", 3), ("p", 0)];
    let ways = units.into_iter().filter_map(|(unit, zeros)| {
        let size = 10u128.pow(zeros);
        (pico % size == 0).then(|| format!("{}{unit}", pico / size))
    });
    ways.min_by_key(String::len).unwrap()
}

fn fallback(text: &str) -> Vec<u8> {
    let address: Address<_> = text.parse().unwrap();
    match address.assume_checked().to_address_data() {
        AddressData::P2pkh { pubkey_hash } => prefixed(17, &pubkey_hash[..]),
        AddressData::P2sh { script_hash } => prefixed(18, &script_hash[..]),
        AddressData::Segwit { witness_program } => {
            let version = witness_program.version().to_num();
            prefixed(version, witness_program.program().as_bytes())
        }
        other => panic!("{other:?}"),
    }
}

fn prefixed(version: u8, program: &[u8]) -> Vec<u8> {
    [vec![version], groups(program)].concat()
}

/// Bit 0 is the last one of the last group.
fn features(bits: &[usize]) -> Vec<u8> {
    let length = bits.iter().max().map_or(0, |highest| highest / 5 + 1);
    let mut groups = vec![0; length];
    for bit in bits {
        groups[length - 1 - bit / 5] |= 1 << (bit % 5);
    }
    groups
}

fn number(number: u64, length: u32) -> Vec<u8> {
    let shifts = (0..length).rev();
    shifts.map(|at| (number >> (5 * at) & 31) as u8).collect()
}

fn shortest(value: u64) -> Vec<u8> {
    let groups = number(value, 12);
    groups.into_iter().skip_while(|group| *group == 0).collect()
}

/// Groups of 5 bits, the last one padded with zeros.
fn groups(bytes: &[u8]) -> Vec<u8> {
    regroup(bytes, 8, 5)
}

fn bytes(groups: &[u8]) -> Vec<u8> {
    regroup(groups, 5, 8)
}

fn regroup(from: &[u8], from_bits: usize, to_bits: usize) -> Vec<u8> {
    let bit = |at: usize| {
        from.get(at / from_bits)
            .map_or(0, |g| g >> (from_bits - 1 - at % from_bits) & 1)
    };
    let starts = (0..from.len() * from_bits).step_by(to_bits);
    let group = |start: usize| (start..start + to_bits).fold(0, |group, at| group << 1 | bit(at));
    starts.map(group).collect()
}

fn value_of(tag: char) -> u8 {
    let place = CHARSET.iter().position(|c| char::from(*c) == tag);
    u8::try_from(place.unwrap()).unwrap()
}

/// BIP 173.
fn checksum(hrp: &str, data: &[u8]) -> Vec<u8> {
    let high = hrp.bytes().map(|c| c >> 5);
    let low = hrp.bytes().map(|c| c & 31);
    let values = high
        .chain([0])
        .chain(low)
        .chain(data.iter().copied())
        .chain([0; 6]);
    let generators = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    let mut sum = 1u32;
    for value in values {
        let top = sum >> 25;
        sum = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        for (bit, generator) in generators.iter().enumerate() {
            if top >> bit & 1 == 1 {
                sum ^= generator;
            }
        }
    }
    number(u64::from(sum ^ 1), 6)
}
