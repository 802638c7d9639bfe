//! `config.example.toml`, the manual of the config file, made from the table of keys.
//!
//! Only the test below needs this: it writes the file, or checks that nobody forgot to.

use std::fmt::Write;

use super::keys::{Key, Kind, SECTIONS, Section};

const HEADER: &str = "\
# ampd's configuration: every key with its default.
#
# Copy this file to ~/.ampd/ampd.toml (or name it with --config) and uncomment what you change.
# Every key is also a flag (--accept-amp) and an environment variable (AMPD_ACCEPT_AMP). What is
# said counts in this order: flag, environment, file, default. An empty text means: not set.
# What stands in a table, such as listen in [donations], is --donations-listen elsewhere; lines
# outside of tables belong above them.
#
# The lines below follow from src/config/keys.rs; a test compares them.
";

/// The text of the file.
#[must_use]
pub fn render() -> String {
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

/// As it stands in its table.
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

    /// To write the file anew: `AMPD_WRITE_EXAMPLE=1 cargo test --lib config::example`.
    #[test]
    fn the_file_in_the_repository_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
        if std::env::var_os("AMPD_WRITE_EXAMPLE").is_some() {
            std::fs::write(&path, render()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), render());
    }
}
