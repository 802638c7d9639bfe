//! Differences between the API's messages and what lncli prints.

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use serde_json::{Map, Value};

/// Converts a list of channels to lncli's form: `chan_id` becomes the channel id of BOLT 2, followed by the
/// API's number as `scid` and by `scid_str` in the form `BLOCKxTRANSACTIONxOUTPUT`.
#[must_use]
pub fn channel_ids(mut list: Value) -> Value {
    let channels = list.get_mut("channels").and_then(Value::as_array_mut);
    for channel in channels.into_iter().flatten() {
        if let Value::Object(members) = channel {
            *members = std::mem::take(members)
                .into_iter()
                .flat_map(chan_id_first)
                .collect();
            set_channel_id(members);
        }
    }
    list
}

fn chan_id_first((name, value): (String, Value)) -> Vec<(String, Value)> {
    if name != "chan_id" {
        return vec![(name, value)];
    }
    let scid_str = value
        .as_str()
        .and_then(|scid| scid.parse().ok())
        .map(scid_text);
    vec![
        (name, Value::Null),
        ("scid".to_owned(), value),
        ("scid_str".to_owned(), scid_str.into()),
    ]
}

fn set_channel_id(members: &mut Map<String, Value>) {
    let point = members.get("channel_point").and_then(Value::as_str);
    let id = point
        .and_then(|point| point.parse().ok())
        .map(|point| channel_id(&point));
    members.insert("chan_id".to_owned(), id.into());
}

/// Returns the channel id of BOLT 2: the funding txid, its last two bytes XORed with the output index.
fn channel_id(point: &OutPoint) -> String {
    let mut id = point.txid.to_byte_array();
    let [.., high, low] = point.vout.to_be_bytes();
    id[30] ^= high;
    id[31] ^= low;
    id.to_lower_hex_string()
}

fn scid_text(scid: u64) -> String {
    format!(
        "{}x{}x{}",
        scid >> 40,
        (scid >> 16) & 0xff_ffff,
        scid & 0xffff
    )
}

/// Formats a txid from the API's bytes, which are in internal (reversed) byte order.
#[must_use]
pub fn txid(bytes: &[u8]) -> String {
    bytes
        .iter()
        .rev()
        .copied()
        .collect::<Vec<_>>()
        .to_lower_hex_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_id_is_the_txid_xored_with_the_output_index() {
        let point = format!("{}:258", "11".repeat(32)).parse().unwrap();
        assert_eq!(channel_id(&point), format!("{}1013", "11".repeat(30)));
    }

    #[test]
    fn txids_are_shown_in_reverse() {
        assert_eq!(txid(&[1, 2, 0xab]), "ab0201");
    }
}
