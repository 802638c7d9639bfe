//! Output to stdout, with JSON indented as by lncli, and notes to stderr.

use std::io::{self, Write};

use prost::{Message, Name};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::error::CliError;
use ampd_text::sanitize::is_harmful;
use lnd_api::to_json;

/// Prints a response of the node as JSON.
pub(crate) fn print<M: Message + Name>(message: &M) -> Result<(), CliError> {
    print_json(&to_json(message)?)
}

/// Prints JSON and a line break.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    print_text(&format!("{}\n", pretty(value)?))
}

/// Prints a text unchanged and flushes stdout.
pub(crate) fn print_text(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Prints a note for the user on stderr, so that scripts can parse stdout.
pub(crate) fn print_note(text: &str) -> Result<(), CliError> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes())?;
    Ok(stderr.flush()?)
}

fn pretty(value: &serde_json::Value) -> io::Result<String> {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    Ok(escape(&text))
}

/// Escapes control and bidirectional characters as `\uXXXX`, which JSON parsers read as the same text. Memos
/// and messages come from others and must not control the terminal or reorder the text around them.
/// serde_json has already escaped line breaks in strings; the remaining ones are formatting.
fn escape(json: &str) -> String {
    let mut units = [0; 2];
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_harmful(c) {
            safe.push(c);
        } else {
            let units = c.encode_utf16(&mut units).iter();
            safe.extend(units.map(|unit| format!("\\u{unit:04x}")));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indents_by_four_spaces_and_keeps_empty_lists_on_one_line() {
        let value = serde_json::json!({"b": [], "a": {}, "c": [1]});
        let text = "{\n    \"b\": [],\n    \"a\": {},\n    \"c\": [\n        1\n    ]\n}";
        assert_eq!(pretty(&value).unwrap(), text);
    }

    #[test]
    fn control_characters_in_texts_are_escaped() {
        let memo = "a\u{1b}[2J\u{9b}\u{202e}\u{e0041}\n\u{2028}ü ⚡";
        let value = serde_json::json!({"memo": memo});
        let text = pretty(&value).unwrap();
        let harmful = |c| c != '\n' && is_harmful(c);
        assert!(
            !text.contains(harmful) && text.lines().count() == 3,
            "{text}"
        );
        assert!(text.contains("ü ⚡"), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["memo"], memo);
    }
}
