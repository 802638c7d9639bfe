//! JSON on stdout, indented as lncli does it.

use std::io::{self, Write};

use prost::{Message, Name};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::error::CliError;
use ampd_text::sanitize::is_harmful;
use lnd_api::to_json;

/// Prints a message of the node.
pub fn print<M: Message + Name>(message: &M) -> Result<(), CliError> {
    print_json(&to_json(message)?)
}

/// Prints any JSON, and a line break.
pub fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    print_text(&format!("{}\n", pretty(value)?))
}

/// Prints a text as it is and hands it on at once.
pub fn print_text(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Prints for the person at the terminal, where it does not disturb what is read by scripts.
pub fn print_note(text: &str) -> Result<(), CliError> {
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

/// Memos and messages are texts of strangers: what could command the terminal or turn around what
/// stands beside it is written as JSON's `\uXXXX`, which every reader takes for the same text.
/// serde_json has done so with the line breaks inside of texts; those that are left are its own.
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
    fn json_is_indented_by_four_spaces_and_empty_lists_stay_on_one_line() {
        let value = serde_json::json!({"b": [], "a": {}, "c": [1]});
        let text = "{\n    \"b\": [],\n    \"a\": {},\n    \"c\": [\n        1\n    ]\n}";
        assert_eq!(pretty(&value).unwrap(), text);
    }

    #[test]
    fn what_strangers_write_cannot_command_the_terminal() {
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
