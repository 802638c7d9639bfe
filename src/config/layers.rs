//! Unvalidated values and their sources: one layer each for flags, environment, file and defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::error::ConfigError;
use super::keys::{self, Key, Kind};
use super::source::Source;

/// The unvalidated value of a key: any number of strings for a list, one for every other kind.
///
/// The strings may be secrets: they are wiped when dropped, and `Debug` does not show them.
#[derive(Clone)]
pub(super) struct RawValue {
    pub texts: Zeroizing<Vec<String>>,
    pub source: Source,
}

impl RawValue {
    /// Creates a value from one string; a list is split at its commas.
    pub(super) fn from_text(key: &Key, text: &str, source: Source) -> Self {
        let texts = match key.kind {
            Kind::List | Kind::Numbers => split_list(text),
            _ => vec![text.to_owned()],
        };
        RawValue {
            texts: Zeroizing::new(texts),
            source,
        }
    }
}

impl fmt::Debug for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawValue({:?})", self.source)
    }
}

fn split_list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Values by key name.
pub(super) type Layer = BTreeMap<&'static str, RawValue>;

/// The merged layers.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers(Layer);

impl Layers {
    /// Adds a layer of lower precedence: it supplies only keys that are not set yet.
    #[must_use]
    pub(super) fn over(mut self, below: Layer) -> Self {
        for (name, raw) in below {
            self.0.entry(name).or_insert(raw);
        }
        self
    }

    /// Returns the items of a list, each parsed by `parse`; empty if the key is not set.
    ///
    /// # Errors
    /// If `parse` rejects an item; the error names `expected`.
    pub(super) fn items<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some((key, raw)) = self.get(name) else {
            return Ok(Vec::new());
        };
        let wrong = |text: &str| wrong_value(key, raw, text, expected);
        raw.texts
            .iter()
            .map(|text| parse(text).ok_or_else(|| wrong(text)))
            .collect()
    }

    /// Returns the value of a key that has a default, parsed by `parse`.
    ///
    /// # Errors
    /// If `parse` rejects the value; the error names `expected`.
    pub(super) fn value<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let (key, raw) = self.get(name).ok_or_else(|| missing(name))?;
        let text = raw.texts.first().map_or("", String::as_str);
        parse(text).ok_or_else(|| wrong_value(key, raw, text, expected))
    }

    /// Returns the value of an optional key; an empty string means "not set".
    ///
    /// # Errors
    /// As for [`Layers::value`].
    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.value(name, expected, |text| match text {
            "" => Some(None),
            text => parse(text).map(Some),
        })
    }

    /// Returns a whole number from `min` to `max`.
    ///
    /// # Errors
    /// If the value is not a number or out of range.
    pub(super) fn number<T>(&self, name: &'static str, min: T, max: T) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let expected = format!("a whole number from {min} to {max}");
        self.value(name, &expected, |text| {
            let digits = text.replace('_', "");
            digits
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
        })
    }

    /// Returns the value of a switch.
    ///
    /// # Errors
    /// If the value is neither true nor false.
    pub(super) fn switch(&self, name: &'static str) -> Result<bool, ConfigError> {
        self.value(name, "true or false", parse_switch)
    }

    /// Returns the key as written at the source of its value, for error messages.
    #[must_use]
    pub(super) fn name_of(&self, name: &'static str) -> String {
        self.get(name)
            .map_or(name.to_owned(), |(key, raw)| raw.source.name_of(key))
    }

    fn get(&self, name: &'static str) -> Option<(&'static Key, &RawValue)> {
        Some((keys::by_name(name)?, self.0.get(name)?))
    }
}

fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn wrong_value(key: &'static Key, raw: &RawValue, text: &str, expected: &str) -> ConfigError {
    let found = if key.secret {
        "a secret".to_owned()
    } else {
        format!("{text:?}")
    };
    ConfigError::Value {
        key,
        place: raw.source.clone(),
        found,
        expected: expected.to_owned(),
    }
}

/// A bug in the table of keys: every key has a default, if only an empty one.
fn missing(name: &'static str) -> ConfigError {
    ConfigError::Conflict(format!("no value for {name}"))
}

/// Returns the lowest layer: the defaults of all keys.
#[must_use]
pub(super) fn defaults() -> Layer {
    keys::all()
        .map(|key| {
            (
                key.name,
                RawValue::from_text(key, key.default, Source::Default),
            )
        })
        .collect()
}

/// Returns the layer of the environment variables.
///
/// # Errors
/// If a variable is not UTF-8.
pub(super) fn environment(env: &impl Fn(&str) -> Option<OsString>) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    for key in keys::all() {
        let Some(value) = env(&key.variable()) else {
            continue;
        };
        let text = value.into_string().map_err(|_| ConfigError::Value {
            key,
            place: Source::Environment,
            found: "invalid UTF-8".to_owned(),
            expected: "a string".to_owned(),
        })?;
        layer.insert(
            key.name,
            RawValue::from_text(key, &text, Source::Environment),
        );
    }
    Ok(layer)
}
