//! The config file: TOML, one key per line.

use std::path::Path;

use zeroize::Zeroizing;

use super::error::ConfigError;
use super::keys::{self, Key, Kind};
use super::layers::{Layer, RawValue};
use super::source::Source;

/// Reads the file as a layer.
///
/// # Errors
/// If the file cannot be read, is not valid TOML, or has an unknown key or a value of the wrong type.
pub(super) fn read(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::ReadFile {
        path: path.to_owned(),
        source,
    })?;
    parse(&Zeroizing::new(text), path)
}

fn parse(text: &str, path: &Path) -> Result<Layer, ConfigError> {
    let table: toml::Table = toml::from_str(text).map_err(|error| syntax(text, path, &error))?;
    let mut layer = Layer::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) if keys::is_table(&name) => {
                for (short, value) in inner {
                    add(&mut layer, &format!("{name}-{short}"), value, path)?;
                }
            }
            value => add(&mut layer, &name, value, path)?,
        }
    }
    Ok(layer)
}

fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> ConfigError {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or("");
    ConfigError::Syntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        message: error.message().replace('\n', ", "),
    }
}

/// Adds a key, which may be set in its table or by its full name, but not both.
fn add(layer: &mut Layer, name: &str, value: toml::Value, path: &Path) -> Result<(), ConfigError> {
    let (name, raw) = entry(name, value, path)?;
    match layer.insert(name, raw) {
        None => Ok(()),
        Some(_) => Err(ConfigError::Conflict(format!(
            "{name} is set twice in {}: by its full name and in its table",
            path.display()
        ))),
    }
}

fn entry(
    name: &str,
    value: toml::Value,
    path: &Path,
) -> Result<(&'static str, RawValue), ConfigError> {
    let Some(key) = keys::by_name(name) else {
        let (key, path, nearest) = (name.to_owned(), path.to_owned(), keys::nearest(name));
        return Err(ConfigError::UnknownKey { key, path, nearest });
    };
    let found = describe(key, &value);
    let source = Source::File(path.to_owned());
    match texts(key.kind, value) {
        Some(texts) => Ok((
            key.name,
            RawValue {
                texts: Zeroizing::new(texts),
                source,
            },
        )),
        None => Err(ConfigError::Value {
            key,
            place: source,
            found,
            expected: expected(key.kind),
        }),
    }
}

/// Returns the value as strings, as a flag would have it; `None` if it has the wrong type.
fn texts(kind: Kind, value: toml::Value) -> Option<Vec<String>> {
    match (kind, value) {
        (Kind::Text, toml::Value::String(text)) => Some(vec![text]),
        (Kind::Switch, toml::Value::Boolean(on)) => Some(vec![on.to_string()]),
        (Kind::Number, toml::Value::Integer(number)) => Some(vec![number.to_string()]),
        (Kind::List, toml::Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                toml::Value::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        (Kind::Numbers, toml::Value::Array(items)) => items
            .into_iter()
            .map(|item| item.as_integer().map(|number| number.to_string()))
            .collect(),
        _ => None,
    }
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text => "a quoted string",
        Kind::Switch => "true or false without quotes",
        Kind::Number => "a whole number without quotes",
        Kind::List => "a list of strings such as [\"one\", \"two\"]",
        Kind::Numbers => "a list of whole numbers such as [1000, 5000]",
    }
    .to_owned()
}

fn describe(key: &Key, value: &toml::Value) -> String {
    match value {
        _ if key.secret => format!("a value of type {}", value.type_str()),
        toml::Value::String(text) => format!("the string {text:?}"),
        toml::Value::Integer(number) => format!("the number {number}"),
        toml::Value::Float(number) => format!("the number {number}"),
        toml::Value::Boolean(on) => on.to_string(),
        toml::Value::Datetime(date) => format!("the date {date}"),
        toml::Value::Array(_) => "a list".to_owned(),
        toml::Value::Table(_) => "a table".to_owned(),
    }
}
