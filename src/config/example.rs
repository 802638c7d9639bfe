//! Renders `config.example.toml`, the reference of the config file, from the table of keys.
//!
//! Used only by the test below, which checks that the file is current, or writes it.

use std::fmt::Write;

use super::keys::{Key, Kind, SECTIONS, Section};

const HEADER: &str = "\
# ampd's configuration: every key with its default.
#
# Copy this file to ~/.ampd/ampd.toml (or pass its path with --config) and uncomment the lines
# that you change. Every key is also a flag (--accept-amp) and an environment variable
# (AMPD_ACCEPT_AMP). Flags override the environment, which overrides this file. An empty string
# means \"not set\". The flag of a key in a table has the table's name in front: listen in
# [donations] is --donations-listen. Keys outside of a table must come before the first table.
#
# Generated from src/config/keys.rs; a test checks that it is current.
";

/// Returns the contents of the file.
#[must_use]
pub(super) fn render() -> String {
    let mut text = HEADER.to_owned();
    for section in SECTIONS {
        let rule = "-".repeat(94 - section.title.len());
        // Writing to a String cannot fail.
        let _ = write!(text, "\n\n# {} {rule}\n", section.title);
        if let Some(table) = section.table {
            let _ = write!(text, "\n[{table}]\n");
        }
        for key in section.keys {
            let name = name(section, key);
            let _ = write!(text, "\n{}#{name} = {}\n", comment(key), value(key));
        }
    }
    text
}

/// The key's name within its table.
fn name(section: &Section, key: &Key) -> &'static str {
    let table = section.table.and_then(|table| key.name.strip_prefix(table));
    let short = table.and_then(|rest| rest.strip_prefix('-'));
    short.unwrap_or(key.name)
}

fn comment(key: &Key) -> String {
    key.doc.lines().map(|line| format!("# {line}\n")).collect()
}

fn value(key: &Key) -> String {
    match key.kind {
        Kind::Text => format!("\"{}\"", key.default),
        Kind::Switch | Kind::Number => key.default.to_owned(),
        Kind::List | Kind::Numbers if key.default.is_empty() => "[]".to_owned(),
        Kind::Numbers => format!("[{}]", key.default.replace(',', ", ")),
        Kind::List => format!("[\"{}\"]", key.default.replace(',', "\", \"")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// To regenerate the file: `AMPD_WRITE_EXAMPLE=1 cargo test --lib config::example`.
    #[test]
    fn example_file_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
        if std::env::var_os("AMPD_WRITE_EXAMPLE").is_some() {
            std::fs::write(&path, render()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), render());
    }
}
