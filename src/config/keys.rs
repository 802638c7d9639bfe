//! The table of config keys: name, type, default and help text of each.
//!
//! The flags, the environment variables, the parsing of the config file and `config.example.toml`
//! are all derived from it.

mod sections;

pub(super) use sections::SECTIONS;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A quoted string.
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number,
    /// A list of strings; comma-separated in a flag or an environment variable.
    List,
    /// A list of whole numbers, written like [`Kind::List`].
    Numbers,
}

/// A config key.
#[derive(Debug)]
pub struct Key {
    /// The name in the file (`accept-amp`); the flag is `--accept-amp`.
    pub name: &'static str,
    pub kind: Kind,
    /// The default, written as for the flag; empty if the key has none.
    pub default: &'static str,
    /// Secrets have no flag, because any local user can list the flags of a process.
    pub secret: bool,
    /// The help text. The first line is a complete summary with the unit; details follow.
    pub doc: &'static str,
}

impl Key {
    /// The name of the environment variable, such as `AMPD_ACCEPT_AMP`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("AMPD_{}", self.name.replace('-', "_").to_uppercase())
    }
}

/// A group of related keys.
#[derive(Debug)]
pub(super) struct Section {
    pub title: &'static str,
    /// The TOML table that may hold the section's keys, without the table's name as prefix:
    /// `listen` in `[donations]` is `donations-listen`.
    pub table: Option<&'static str>,
    pub keys: &'static [Key],
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        secret: false,
        doc,
    }
}

/// All keys, in the order of `--help` and `config.example.toml`.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// Returns the key with this name.
#[must_use]
pub(super) fn by_name(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// Returns true if the config file may have a table with this name.
#[must_use]
pub(super) fn is_table(name: &str) -> bool {
    SECTIONS.iter().any(|section| section.table == Some(name))
}

/// Returns the key name most similar to `name`.
#[must_use]
pub(super) fn nearest(name: &str) -> &'static str {
    let likeness = |key: &Key| strsim::normalized_damerau_levenshtein(key.name, name);
    all()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .map_or("network", |key| key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().map(|key| key.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn help_texts_fit_the_line_width() {
        for key in all() {
            let fits = |line: &str| !line.is_empty() && line.len() < 98;
            assert!(key.doc.lines().all(fits), "{}", key.name);
        }
    }

    #[test]
    fn nearest_name_tolerates_typos() {
        for (typed, meant) in [
            ("acept-amp", "accept-amp"),
            ("accept_amp", "accept-amp"),
            ("externalip", "external-address"),
            ("bitcoind-rpc-pass", "bitcoind-rpc-password"),
            ("loglevel", "log-level"),
        ] {
            assert_eq!(nearest(typed), meant);
        }
    }
}
