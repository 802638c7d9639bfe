//! Parses REST requests into messages, from a JSON body or from path and query fields.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use serde_json::error::Category;
use tonic::Status;

/// grpc-gateway accepts base64 in both alphabets, with or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Parses a JSON body; an empty body is an empty message.
///
/// # Errors
/// lnd's error as far as it can be reproduced: position and problem.
pub(super) fn from_body(
    descriptor: &MessageDescriptor,
    body: &[u8],
) -> Result<DynamicMessage, Status> {
    if body.trim_ascii().is_empty() {
        return Ok(DynamicMessage::new(descriptor.clone()));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let options = DeserializeOptions::new();
    DynamicMessage::deserialize_with_options(descriptor.clone(), &mut json, &options)
        .and_then(|message| json.end().map(|()| message))
        .map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> Status {
    let position = format!("(line {}:{})", error.line(), error.column());
    let text = error.to_string();
    let what = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(what, _)| what);
    let name = what.strip_prefix("unrecognized field name '");
    let name = name.and_then(|rest| rest.strip_suffix('\''));
    Status::invalid_argument(match (name, error.classify()) {
        (Some(name), _) => format!("proto: {position}: unknown field \"{name}\""),
        (None, Category::Data) => format!("proto: {position}: {what}"),
        (None, _) => format!("proto: syntax error {position}: {what}"),
    })
}

/// Sets the field of this name (`channel_point.output_index`, `ids`, `AddrToAmount[bc1...]`) from a text.
/// Repeated list fields are appended. Unknown fields are ignored, as in grpc-gateway.
pub(super) fn set_field(
    message: &mut DynamicMessage,
    name: &str,
    text: &str,
) -> Result<(), Status> {
    let wrong = |error: String| Status::invalid_argument(format!("{name}: {error}"));
    if let Some((outer, inner)) = name.split_once('.') {
        let Some(field) = message.descriptor_field(outer) else {
            return Ok(());
        };
        return match message.get_field_mut(&field) {
            Value::Message(inner_message) => set_field(inner_message, inner, text),
            _ => Err(wrong("not a message, so it has no fields".to_owned())),
        };
    }
    let (name, key) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((name, key)) => (name, Some(key)),
        None => (name, None),
    };
    let Some(field) = message.descriptor_field(name) else {
        return Ok(());
    };
    match (message.get_field_mut(&field), key) {
        (Value::List(items), None) => items.push(value(text, &field.kind()).map_err(wrong)?),
        (Value::Map(entries), Some(key)) => {
            let (key, value) = entry(&field, key, text).map_err(wrong)?;
            entries.insert(key, value);
        }
        (Value::List(_) | Value::Map(_), _) | (_, Some(_)) => {
            return Err(wrong("use name[key] for maps and only there".to_owned()));
        }
        (single, None) => *single = value(text, &field.kind()).map_err(wrong)?,
    }
    Ok(())
}

/// Finds fields by proto name or JSON name.
trait FieldByName {
    fn descriptor_field(&self, name: &str) -> Option<FieldDescriptor>;
}

impl FieldByName for DynamicMessage {
    fn descriptor_field(&self, name: &str) -> Option<FieldDescriptor> {
        let descriptor = prost_reflect::ReflectMessage::descriptor(self);
        let field = descriptor.get_field_by_name(name);
        field.or_else(|| descriptor.get_field_by_json_name(name))
    }
}

fn entry(field: &FieldDescriptor, key: &str, text: &str) -> Result<(MapKey, Value), String> {
    let kind = field.kind();
    let Some(entry) = kind.as_message() else {
        return Err("not a map".to_owned());
    };
    let key = value(key, &entry.map_entry_key_field().kind())?;
    let key = key.into_map_key().ok_or("unsupported type of map key")?;
    let value = value(text, &entry.map_entry_value_field().kind())?;
    Ok((key, value))
}

fn value(text: &str, kind: &Kind) -> Result<Value, String> {
    let wrong = |what: &str| format!("{text:?} is not {what}");
    let number = || wrong("a valid number");
    Ok(match kind {
        Kind::Bool => Value::Bool(boolean(text).ok_or_else(|| wrong("true or false"))?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            Value::I32(text.parse().map_err(|_| number())?)
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Value::I64(text.parse().map_err(|_| number())?)
        }
        Kind::Uint32 | Kind::Fixed32 => Value::U32(text.parse().map_err(|_| number())?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(text.parse().map_err(|_| number())?),
        Kind::Float => Value::F32(text.parse().map_err(|_| number())?),
        Kind::Double => Value::F64(text.parse().map_err(|_| number())?),
        Kind::String => Value::String(text.to_owned()),
        Kind::Bytes => Value::Bytes(bytes(text).ok_or_else(|| wrong("base64"))?.into()),
        Kind::Enum(names) => {
            let named = names.get_value_by_name(text).map(|value| value.number());
            let number = named.or_else(|| text.parse().ok());
            Value::EnumNumber(number.ok_or_else(|| wrong("a value of this enum"))?)
        }
        Kind::Message(_) => return Err("set the fields of this message as name.field".to_owned()),
    })
}

/// Parses a boolean like Go's strconv.ParseBool; BTCPay sends "False".
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    // A "+" of standard base64 that was not percent-encoded was decoded as a space.
    let text = text.replace(' ', "+");
    URL_SAFE
        .decode(&text)
        .or_else(|_| STANDARD.decode(&text))
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use lnd_api::json::{Bytes, json as to_json};
    use lnd_api::proto::POOL;

    fn descriptor(name: &str) -> MessageDescriptor {
        POOL.get_message_by_name(name).unwrap()
    }

    fn query(name: &str, fields: &[(&str, &str)]) -> Result<serde_json::Value, String> {
        let mut message = DynamicMessage::new(descriptor(name));
        for (field, text) in fields {
            set_field(&mut message, field, text).map_err(|status| status.message().to_owned())?;
        }
        Ok(to_json(&message, Bytes::Base64))
    }

    #[test]
    fn sets_fields_by_name() {
        let closing = query(
            "lnrpc.CloseChannelRequest",
            &[
                ("channel_point.funding_txid_str", "ab"),
                ("channel_point.output_index", "7"),
                ("force", "True"),
                ("sat_per_vbyte", "12"),
                ("nonsense", "1"),
            ],
        );
        let closing = closing.unwrap();
        assert_eq!(
            closing["channel_point"],
            json!({"funding_txid_str": "ab", "output_index": 7})
        );
        assert_eq!(closing["force"], true);
        assert_eq!(closing["sat_per_vbyte"], "12");

        let lookup = [("set_id", "-_8="), ("lookup_modifier", "HTLC_SET_ONLY")];
        let lookup = query("invoicesrpc.LookupInvoiceMsg", &lookup).unwrap();
        assert_eq!(
            lookup,
            json!({"set_id": "+/8=", "lookup_modifier": "HTLC_SET_ONLY"})
        );

        let routes = [
            ("ignored_nodes", "AQ"),
            ("ignored_nodes", "Ag=="),
            ("lastHopPubkey", "+/8"),
        ];
        let routes = query("lnrpc.QueryRoutesRequest", &routes).unwrap();
        assert_eq!(routes["ignored_nodes"], json!(["AQ==", "Ag=="]));
        assert_eq!(routes["last_hop_pubkey"], "+/8=");

        let records = [("dest_custom_records[65536]", "AQ==")];
        let records = query("lnrpc.QueryRoutesRequest", &records).unwrap();
        assert_eq!(records["dest_custom_records"], json!({"65536": "AQ=="}));
    }

    #[test]
    fn errors_name_the_field_and_the_problem() {
        for (field, text, error) in [
            ("force", "yes", "force: \"yes\" is not true or false"),
            (
                "sat_per_vbyte",
                "-1",
                "sat_per_vbyte: \"-1\" is not a valid number",
            ),
            (
                "channel_point",
                "x",
                "channel_point: set the fields of this message as name.field",
            ),
            (
                "force.x",
                "1",
                "force.x: not a message, so it has no fields",
            ),
            (
                "force[x]",
                "1",
                "force[x]: use name[key] for maps and only there",
            ),
        ] {
            let set = query("lnrpc.CloseChannelRequest", &[(field, text)]);
            assert_eq!(set, Err(error.to_owned()));
        }
        let set = query("invoicesrpc.LookupInvoiceMsg", &[("set_id", "%")]);
        assert_eq!(set, Err("set_id: \"%\" is not base64".to_owned()));
    }

    #[test]
    fn parses_bodies_like_lnd() {
        let invoice = descriptor("lnrpc.Invoice");
        let read = |body: &str| from_body(&invoice, body.as_bytes());
        let message =
            read(r#"{"value": "7", "valueMsat": 5, "r_preimage": "-_8", "private": null}"#);
        let message = to_json(&message.unwrap(), Bytes::Base64);
        assert_eq!(
            (&message["value"], &message["value_msat"]),
            (&json!("7"), &json!("5"))
        );
        assert_eq!(message["r_preimage"], "+/8=");
        assert!(read("").is_ok() && read(" \n").is_ok() && read("{}").is_ok());
    }

    #[test]
    fn body_errors_have_a_position() {
        let invoice = descriptor("lnrpc.Invoice");
        for (body, error) in [
            (
                r#"{"value": "5", "nonsense": 1}"#,
                "proto: (line 1:25): unknown field \"nonsense\"",
            ),
            (
                "{",
                "proto: syntax error (line 1:1): EOF while parsing an object",
            ),
            (
                "[]",
                "proto: (line 1:0): invalid type: sequence, expected a map",
            ),
            (
                "{} {}",
                "proto: syntax error (line 1:4): trailing characters",
            ),
        ] {
            let status = from_body(&invoice, body.as_bytes()).unwrap_err();
            assert_eq!(status.message(), error, "{body}");
        }
        let status = from_body(&invoice, br#"{"value": {"a": 1}}"#).unwrap_err();
        assert!(
            status
                .message()
                .starts_with("proto: (line 1:11): invalid type: map"),
            "{status}"
        );
    }

    proptest! {
        #[test]
        fn never_panics_on_arbitrary_input(name in ".{0,40}", text in ".{0,40}", body in ".{0,200}") {
            for message in ["lnrpc.QueryRoutesRequest", "lnrpc.CloseChannelRequest", "lnrpc.Invoice"] {
                let descriptor = descriptor(message);
                let _ = from_body(&descriptor, body.as_bytes());
                let mut message = DynamicMessage::new(descriptor);
                let _ = set_field(&mut message, &name, &text);
            }
        }
    }
}
