//! Converts protobuf messages to JSON.
//!
//! The rules are those of protojson with lnd's settings: fields have their proto names and the order of the
//! .proto file, empty fields are included (except those of a oneof), 64-bit integers are strings, and enums
//! are names.

use base64::prelude::{BASE64_STANDARD, Engine};
use bitcoin::hex::DisplayHex;
use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The encoding of bytes in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// Lower-case hex, as in lncli.
    Hex,
    /// Base64, as in protojson and lnd's REST interface.
    Base64,
}

impl Bytes {
    fn text(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => bytes.to_lower_hex_string(),
            Self::Base64 => BASE64_STANDARD.encode(bytes),
        }
    }
}

/// Converts a message to JSON.
pub fn json(message: &DynamicMessage, bytes: Bytes) -> serde_json::Value {
    // Cannot fail: all keys are strings.
    serde_json::to_value(Shown { message, bytes }).unwrap_or_default()
}

/// Converts a message to the text of its JSON. For a large message this takes much less time and memory than
/// printing the result of [`json`].
pub fn text(message: &DynamicMessage, bytes: Bytes) -> String {
    // As above.
    serde_json::to_string(&Shown { message, bytes }).unwrap_or_default()
}

/// A message as JSON shows it.
struct Shown<'a> {
    message: &'a DynamicMessage,
    bytes: Bytes,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { message, bytes } = *self;
        let descriptor = message.descriptor();
        let mut fields: Vec<_> = descriptor.fields().collect();
        // `fields` is sorted by number; the last element of a path is the position in the file.
        fields.sort_by_key(|field| field.path().last().copied());
        let mut members = serializer.serialize_map(None)?;
        for field in &fields {
            let is_set = message.has_field(field);
            if field.containing_oneof().is_some() && !is_set {
                continue;
            }
            if field.supports_presence() && !is_set {
                members.serialize_entry(field.name(), &())?;
                continue;
            }
            let content = Content {
                value: &message.get_field(field),
                kind: &field.kind(),
                bytes,
            };
            members.serialize_entry(field.name(), &content)?;
        }
        members.end()
    }
}

/// The content of a field, or an element of it.
struct Content<'a> {
    value: &'a Value,
    kind: &'a Kind,
    bytes: Bytes,
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, kind, bytes } = *self;
        match value {
            Value::Bool(on) => serializer.serialize_bool(*on),
            Value::I32(number) => serializer.serialize_i32(*number),
            Value::U32(number) => serializer.serialize_u32(*number),
            Value::I64(number) => serializer.collect_str(number),
            Value::U64(number) => serializer.collect_str(number),
            Value::F32(number) => serializer.serialize_f64(f64::from(*number)),
            Value::F64(number) => float(*number).serialize(serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(value) => serializer.serialize_str(&bytes.text(value)),
            Value::EnumNumber(number) => match enum_name(*number, kind) {
                Some(name) => serializer.serialize_str(&name),
                None => serializer.serialize_i32(*number),
            },
            Value::Message(message) => Shown { message, bytes }.serialize(serializer),
            Value::List(items) => {
                let item = |value| Content { value, kind, bytes };
                serializer.collect_seq(items.iter().map(item))
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by(|a, b| a.0.cmp(b.0));
                let kind = &map_value_kind(kind);
                let entry = |(key, value)| (key_text(key), Content { value, kind, bytes });
                serializer.collect_map(entries.into_iter().map(entry))
            }
        }
    }
}

/// Converts a float as Go prints it: a whole number has no decimal point.
fn float(number: f64) -> serde_json::Value {
    let is_whole = number.fract() == 0.0 && number.abs() < f64::from(u32::MAX);
    // Used only if the number is within the bounds above, where the cast is lossless.
    #[allow(clippy::cast_possible_truncation)]
    let whole = number as i64;
    if is_whole {
        whole.into()
    } else {
        number.into()
    }
}

/// Returns the name of an enum value (the first of several), or `None` if the .proto file does not define it.
fn enum_name(number: i32, kind: &Kind) -> Option<String> {
    let named = kind
        .as_enum()?
        .values()
        .filter(|value| value.number() == number)
        .min_by_key(|value| value.path().last().copied());
    named.map(|value| value.name().to_owned())
}

fn map_value_kind(kind: &Kind) -> Kind {
    match kind.as_message() {
        Some(entry) => entry.map_entry_value_field().kind(),
        None => kind.clone(),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}
