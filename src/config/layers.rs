//! What was said, and where: one layer each for flags, environment, file and defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::error::ConfigError;
use super::keys::{self, Key, Kind};

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

impl Source {
    /// How the user wrote the key: `--accept-amp`, `AMPD_ACCEPT_AMP`, `accept-amp in ampd.toml`.
    #[must_use]
    pub fn name_of(&self, key: &Key) -> String {
        match self {
            Source::Flag => format!("--{}", key.name),
            Source::Environment => key.variable(),
            Source::File(path) => format!("{} in {}", key.name, path.display()),
            Source::Default => format!("{} (default)", key.name),
        }
    }
}

/// What was said for one key: a list has any number of texts, every other kind one.
///
/// The texts may be secrets; they are wiped when they are dropped and not shown by `Debug`.
#[derive(Clone)]
pub struct Said {
    pub texts: Zeroizing<Vec<String>>,
    pub source: Source,
}

impl Said {
    /// A value out of one text; a list is split at its commas.
    pub fn from_text(key: &Key, text: &str, source: Source) -> Self {
        let texts = match key.kind {
            Kind::List | Kind::Numbers => split_list(text),
            _ => vec![text.to_owned()],
        };
        Said {
            texts: Zeroizing::new(texts),
            source,
        }
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Said({:?})", self.source)
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
pub type Layer = BTreeMap<&'static str, Said>;

/// All layers, laid over each other.
#[derive(Clone, Debug, Default)]
pub struct Layers(Layer);

impl Layers {
    /// Puts a layer under those that are there: it counts only where they say nothing.
    #[must_use]
    pub fn over(mut self, below: Layer) -> Self {
        for (name, said) in below {
            self.0.entry(name).or_insert(said);
        }
        self
    }

    /// The texts of a list.
    pub fn items<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some((key, said)) = self.said(name) else {
            return Ok(Vec::new());
        };
        let wrong = |text: &str| wrong_value(key, said, text, expected);
        said.texts
            .iter()
            .map(|text| parse(text).ok_or_else(|| wrong(text)))
            .collect()
    }

    /// The value of a key that has a default, checked by `parse`.
    pub fn value<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let (key, said) = self.said(name).ok_or_else(|| missing(name))?;
        let text = said.texts.first().map_or("", String::as_str);
        parse(text).ok_or_else(|| wrong_value(key, said, text, expected))
    }

    /// The value of a key that may be left out; an empty text counts as left out.
    pub fn optional<T>(
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

    /// A whole number in a range.
    pub fn number<T>(&self, name: &'static str, least: T, most: T) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let expected = format!("a whole number from {least} to {most}");
        self.value(name, &expected, |text| {
            let digits = text.replace('_', "");
            digits
                .parse()
                .ok()
                .filter(|number| (least..=most).contains(number))
        })
    }

    /// A switch.
    pub fn switch(&self, name: &'static str) -> Result<bool, ConfigError> {
        self.value(name, "true or false", parse_switch)
    }

    /// Where the value of a key was said.
    #[must_use]
    pub fn name_of(&self, name: &'static str) -> String {
        self.said(name)
            .map_or(name.to_owned(), |(key, said)| said.source.name_of(key))
    }

    fn said(&self, name: &'static str) -> Option<(&'static Key, &Said)> {
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

fn wrong_value(key: &'static Key, said: &Said, text: &str, expected: &str) -> ConfigError {
    let found = if key.secret {
        "a secret".to_owned()
    } else {
        format!("{text:?}")
    };
    ConfigError::Value {
        key,
        place: said.source.clone(),
        found,
        expected: expected.to_owned(),
    }
}

/// The defaults are a layer, so this is a mistake in our own table of keys.
fn missing(name: &'static str) -> ConfigError {
    ConfigError::Conflict(format!("no value for {name}"))
}

/// The lowest layer: the defaults of all keys.
#[must_use]
pub fn defaults() -> Layer {
    keys::all()
        .map(|key| (key.name, Said::from_text(key, key.default, Source::Default)))
        .collect()
}

/// The layer of the environment variables.
///
/// # Errors
/// If a variable is not UTF-8.
pub fn environment(env: &impl Fn(&str) -> Option<OsString>) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    for key in keys::all() {
        let Some(value) = env(&key.variable()) else {
            continue;
        };
        let text = value.into_string().map_err(|_| ConfigError::Value {
            key,
            place: Source::Environment,
            found: "bytes that are no UTF-8".to_owned(),
            expected: "a text".to_owned(),
        })?;
        layer.insert(key.name, Said::from_text(key, &text, Source::Environment));
    }
    Ok(layer)
}
