//! Converts protobuf messages to JSON.
//!
//! The rules are those of protojson with lnd's settings: fields have their proto names and the order of the
//! .proto file, empty fields are included (except those of a oneof), 64-bit integers are strings, and enums
//! are names.

use base64::prelude::{BASE64_STANDARD, Engine};
use bitcoin::hex::DisplayHex;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};
use serde_json::Map;

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
    let descriptor = message.descriptor();
    let mut fields: Vec<_> = descriptor.fields().collect();
    // `fields` is sorted by number; the last element of a path is the position in the file.
    fields.sort_by_key(|field| field.path().last().copied());
    let shown =
        |field: &FieldDescriptor| field.containing_oneof().is_none() || message.has_field(field);
    let entry = |field: FieldDescriptor| (field.name().to_owned(), member(message, &field, bytes));
    fields
        .into_iter()
        .filter(shown)
        .map(entry)
        .collect::<Map<_, _>>()
        .into()
}

fn member(message: &DynamicMessage, field: &FieldDescriptor, bytes: Bytes) -> serde_json::Value {
    if field.supports_presence() && !message.has_field(field) {
        return serde_json::Value::Null;
    }
    content(&message.get_field(field), &field.kind(), bytes)
}

fn content(value: &Value, kind: &Kind, bytes: Bytes) -> serde_json::Value {
    match value {
        Value::Bool(on) => (*on).into(),
        Value::I32(number) => (*number).into(),
        Value::U32(number) => (*number).into(),
        Value::I64(number) => number.to_string().into(),
        Value::U64(number) => number.to_string().into(),
        Value::F32(number) => (*number).into(),
        Value::F64(number) => float(*number),
        Value::String(text) => text.as_str().into(),
        Value::Bytes(value) => bytes.text(value).into(),
        Value::EnumNumber(number) => enum_name(*number, kind),
        Value::Message(message) => json(message, bytes),
        Value::List(items) => items
            .iter()
            .map(|item| content(item, kind, bytes))
            .collect(),
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            let kind = map_value_kind(kind);
            let entry = |(key, value)| (key_text(key), content(value, &kind, bytes));
            entries.into_iter().map(entry).collect::<Map<_, _>>().into()
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

/// Returns the name of an enum value (the first of several), or the number if the .proto file does not
/// define it.
fn enum_name(number: i32, kind: &Kind) -> serde_json::Value {
    let Some(descriptor) = kind.as_enum() else {
        return number.into();
    };
    let named = descriptor
        .values()
        .filter(|value| value.number() == number)
        .min_by_key(|value| value.path().last().copied());
    named.map_or(number.into(), |value| value.name().into())
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
