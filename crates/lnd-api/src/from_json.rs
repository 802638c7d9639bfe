//! The reverse of [`super::json`]: decodes a message from the JSON that lncli prints.

use bitcoin::hex::FromHex;
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use serde_json::Value as Json;

use crate::proto::POOL;

/// Decodes a message from JSON. Fields may be missing or null, numbers may be strings (as 64-bit numbers
/// are), and bytes are in hex.
///
/// # Errors
/// A text that names the invalid field and says what was expected.
pub fn from_json<M: Message + Name + Default>(json: &Json) -> Result<M, String> {
    let name = M::full_name();
    let unknown = || format!("{name} is not in the .proto files");
    let descriptor = POOL.get_message_by_name(&name).ok_or_else(unknown)?;
    let message = message(json, &descriptor)?;
    M::decode(message.encode_to_vec().as_slice()).map_err(|error| error.to_string())
}

fn message(json: &Json, descriptor: &MessageDescriptor) -> Result<DynamicMessage, String> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let members = json.as_object().ok_or_else(|| wrong(json, "an object"))?;
    for (name, json) in members {
        let field = descriptor
            .get_field_by_name(name)
            .ok_or_else(|| format!("unknown field {name:?} in {}", descriptor.name()))?;
        if !json.is_null() {
            let value = member(json, &field).map_err(|error| format!("{name}: {error}"))?;
            message.set_field(&field, value);
        }
    }
    Ok(message)
}

fn member(json: &Json, field: &FieldDescriptor) -> Result<Value, String> {
    let kind = field.kind();
    if field.is_list() {
        let items = json.as_array().ok_or_else(|| wrong(json, "an array"))?;
        let items = items.iter().map(|item| value(item, &kind));
        return items.collect::<Result<_, _>>().map(Value::List);
    }
    match kind.as_message().filter(|_| field.is_map()) {
        Some(entry) => map(json, entry),
        None => value(json, &kind),
    }
}

fn map(json: &Json, entry: &MessageDescriptor) -> Result<Value, String> {
    let members = json.as_object().ok_or_else(|| wrong(json, "an object"))?;
    let (key, kind) = (
        entry.map_entry_key_field().kind(),
        entry.map_entry_value_field().kind(),
    );
    let entry = |(name, json): (&String, &Json)| Ok((map_key(name, &key)?, value(json, &kind)?));
    let entries = members.iter().map(entry);
    entries.collect::<Result<_, String>>().map(Value::Map)
}

fn map_key(text: &str, kind: &Kind) -> Result<MapKey, String> {
    let wrong = || format!("{text:?} is not a valid map key");
    Ok(match kind {
        Kind::String => MapKey::String(text.to_owned()),
        Kind::Bool => MapKey::Bool(text.parse().map_err(|_| wrong())?),
        Kind::Int32 => MapKey::I32(text.parse().map_err(|_| wrong())?),
        Kind::Int64 => MapKey::I64(text.parse().map_err(|_| wrong())?),
        Kind::Uint32 => MapKey::U32(text.parse().map_err(|_| wrong())?),
        Kind::Uint64 => MapKey::U64(text.parse().map_err(|_| wrong())?),
        _ => return Err(wrong()),
    })
}

fn value(json: &Json, kind: &Kind) -> Result<Value, String> {
    Ok(match kind {
        Kind::Bool => Value::Bool(json.as_bool().ok_or_else(|| wrong(json, "true or false"))?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number(json)?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number(json)?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number(json)?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number(json)?),
        Kind::Float => Value::F32(number(json)?),
        Kind::Double => Value::F64(number(json)?),
        Kind::String => Value::String(text(json)?.to_owned()),
        Kind::Bytes => {
            let bytes = Vec::<u8>::from_hex(text(json)?).map_err(|_| wrong(json, "hex"))?;
            Value::Bytes(bytes.into())
        }
        Kind::Message(descriptor) => Value::Message(message(json, descriptor)?),
        Kind::Enum(names) => {
            let named = json.as_str().and_then(|name| names.get_value_by_name(name));
            Value::EnumNumber(match named {
                Some(value) => value.number(),
                None => number(json)?,
            })
        }
    })
}

fn text(json: &Json) -> Result<&str, String> {
    json.as_str().ok_or_else(|| wrong(json, "a string"))
}

fn number<N: std::str::FromStr>(json: &Json) -> Result<N, String> {
    let text = match json {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.parse().map_err(|_| wrong(json, "a valid number"))
}

fn wrong(json: &Json, expected: &str) -> String {
    format!("{json} is not {expected}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::lnrpc::{Hop, Route};

    #[test]
    fn printed_messages_round_trip() {
        let mut hop = Hop {
            chan_id: u64::MAX,
            amt_to_forward_msat: -1,
            pub_key: "02".into(),
            tlv_payload: true,
            mpp_record: Some(crate::proto::lnrpc::MppRecord {
                payment_addr: vec![1, 2],
                total_amt_msat: 5,
            }),
            ..Hop::default()
        };
        hop.custom_records.insert(65_536, vec![0xff]);
        let route = Route {
            hops: vec![hop],
            ..Route::default()
        };
        let printed = crate::to_json(&route).unwrap();
        assert_eq!(from_json(&printed), Ok(route));
    }

    #[test]
    fn errors_name_the_invalid_field() {
        for (json, error) in [
            (json!([]), "[] is not an object"),
            (json!({"hopes": []}), "unknown field \"hopes\" in Route"),
            (json!({"hops": 1}), "hops: 1 is not an array"),
            (
                json!({"total_time_lock": -1}),
                "total_time_lock: -1 is not a valid number",
            ),
            (
                json!({"hops": [{"metadata": "0g"}]}),
                "hops: metadata: \"0g\" is not hex",
            ),
            (
                json!({"hops": [{"custom_records": {"x": ""}}]}),
                "hops: custom_records: \"x\" is not a valid map key",
            ),
        ] {
            assert_eq!(from_json::<Route>(&json), Err(error.to_owned()));
        }
    }
}
