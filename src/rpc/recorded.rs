//! For tests: what a real lnd printed (`tests/data/lnd-output`), and values out of it.

use std::path::Path;

use bitcoin::hex::FromHex;
use prost::{Message, Name};
use serde_json::Value;

/// A recorded file.
pub(super) fn recorded(file: &str) -> Value {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lnd-output");
    let text = std::fs::read_to_string(directory.join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Our message as lncli would print it.
pub(super) fn printed<M: Message + Name>(message: &M) -> Value {
    crate::cli::to_json(message).unwrap()
}

/// A 64-bit number (text in JSON) or a 32-bit one.
pub(super) fn number(value: &Value) -> u64 {
    match value.as_str() {
        Some(text) => text.parse().unwrap(),
        None => value.as_u64().unwrap(),
    }
}

/// The same for what has 32 bits.
pub(super) fn number_32(value: &Value) -> u32 {
    number(value).try_into().unwrap()
}

/// 32 bytes in hex; none if there is nothing.
pub(super) fn bytes_32(value: &Value) -> Option<[u8; 32]> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    Some(<[u8; 32]>::from_hex(text).unwrap())
}

/// A text.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Records by type, bytes in hex.
pub(super) fn records(value: &Value) -> std::collections::BTreeMap<u64, Vec<u8>> {
    let entries = value.as_object().unwrap().iter();
    let record = |(kind, bytes): (&String, &Value)| {
        (
            kind.parse().unwrap(),
            Vec::from_hex(bytes.as_str().unwrap()).unwrap(),
        )
    };
    entries.map(record).collect()
}

/// Takes members out, wherever they are.
pub(super) fn without(mut value: Value, names: &[&str]) -> Value {
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
