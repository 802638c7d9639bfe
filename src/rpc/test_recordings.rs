//! Test helpers: recorded output of a real lnd (`crates/lnd-api/tests/data/lnd-output`) and values from it.

use std::path::Path;

use bitcoin::hex::{DisplayHex, FromHex};
use prost::{Message, Name};
use serde_json::Value;

/// Reads a recorded JSON file.
pub(in crate::rpc) fn recorded(file: &str) -> Value {
    serde_json::from_str(&recorded_text(file)).unwrap()
}

/// Reads a recorded REST stream; bytes are converted to hex, as lncli prints them.
pub(in crate::rpc) fn recorded_stream(file: &str) -> Vec<Value> {
    let message = |line: &str| {
        let mut response: Value = serde_json::from_str(line).unwrap();
        in_hex(response["result"].take(), "")
    };
    let text = recorded_text(file);
    text.lines()
        .filter(|line| !line.is_empty())
        .map(message)
        .collect()
}

fn recorded_text(file: &str) -> String {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lnd-api/tests/data/lnd-output");
    std::fs::read_to_string(directory.join(file)).unwrap()
}

/// The bytes fields of an invoice.
const BYTES: [&str; 9] = [
    "r_hash",
    "r_preimage",
    "payment_addr",
    "description_hash",
    "root_share",
    "set_id",
    "hash",
    "preimage",
    "custom_channel_data",
];

/// Converts bytes fields from REST's base64 to lncli's hex.
fn in_hex(value: Value, name: &str) -> Value {
    match value {
        Value::Object(members) => {
            let all = name == "custom_records";
            let member = |(key, value): (String, Value)| {
                let value = in_hex(value, if all { "hash" } else { &key });
                (key, value)
            };
            members.into_iter().map(member).collect()
        }
        Value::Array(items) => items.into_iter().map(|item| in_hex(item, name)).collect(),
        Value::String(text) if BYTES.contains(&name) => {
            from_base64(&text).to_lower_hex_string().into()
        }
        other => other,
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0, 0);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = DIGITS.iter().position(|known| *known == digit).unwrap();
        (held, bits) = ((held << 6 | value) & 0xfff, bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

/// Converts a message to JSON as lncli prints it.
pub(in crate::rpc) fn printed<M: Message + Name>(message: &M) -> Value {
    lnd_api::to_json(message).unwrap()
}

/// Parses a 64-bit number (a string in JSON) or a 32-bit one.
pub(in crate::rpc) fn number(value: &Value) -> u64 {
    match value.as_str() {
        Some(text) => text.parse().unwrap(),
        None => value.as_u64().unwrap(),
    }
}

/// Parses a 32-bit number.
pub(in crate::rpc) fn number_32(value: &Value) -> u32 {
    number(value).try_into().unwrap()
}

/// Parses 32 bytes in hex; `None` if absent or empty.
pub(in crate::rpc) fn bytes_32(value: &Value) -> Option<[u8; 32]> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    Some(<[u8; 32]>::from_hex(text).unwrap())
}

/// Returns a string.
pub(in crate::rpc) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Parses custom records: types and values in hex.
pub(in crate::rpc) fn records(value: &Value) -> std::collections::BTreeMap<u64, Vec<u8>> {
    let entries = value.as_object().unwrap().iter();
    let record = |(kind, bytes): (&String, &Value)| {
        (
            kind.parse().unwrap(),
            Vec::from_hex(bytes.as_str().unwrap()).unwrap(),
        )
    };
    entries.map(record).collect()
}

/// Removes the members of these names at any depth.
pub(in crate::rpc) fn without(mut value: Value, names: &[&str]) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.retain(|name, _| !names.contains(&name.as_str()));
            members
                .values_mut()
                .for_each(|member| *member = without(member.take(), names));
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = without(item.take(), names)),
        _ => {}
    }
    value
}
