//! JSON on stdout, indented as lncli does it.

use std::io::{self, Write};

use prost::{Message, Name};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::error::CliError;
use super::json::to_json;

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
    String::from_utf8(bytes).map_err(io::Error::other)
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
}
