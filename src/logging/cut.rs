//! Truncation of long lines: a peer's text can be 65,000 bytes long.

use std::borrow::Cow;
use std::fmt::{self, Write};

use serde_json::Value;

/// Maximum length of a line, in bytes. Most lines have a few hundred; only those that quote peers are longer.
const MAX_LINE: usize = 4_000;
/// Maximum length of each string in a JSON line that is too long, in bytes.
const MAX_VALUE: usize = 500;

/// Cuts the text after `max_bytes` and appends the number of bytes cut.
#[must_use]
pub fn cut(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let missing = text.len() - end;
    Cow::Owned(format!("{}... ({missing} more bytes)", &text[..end]))
}

/// Formats at most `max_bytes` of a text; returns true with it if that is all of it. The rest is not
/// formatted, which is expensive: LDK writes text from peers character by character.
#[must_use]
pub(super) fn beginning(text: fmt::Arguments<'_>, max_bytes: usize) -> (String, bool) {
    let mut beginning = Beginning {
        text: String::new(),
        max_bytes,
    };
    let whole = beginning.write_fmt(text).is_ok();
    (beginning.text, whole)
}

/// A writer that fails once `max_bytes` are written.
struct Beginning {
    text: String,
    max_bytes: usize,
}

impl Write for Beginning {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let mut end = part.len().min(self.max_bytes - self.text.len());
        while !part.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&part[..end]);
        if end == part.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// Cuts a complete line, which ends with a newline. JSON stays valid JSON.
pub(super) fn line(line: &str) -> Cow<'_, str> {
    if line.len() <= MAX_LINE {
        return Cow::Borrowed(line);
    }
    let text = line.trim_end();
    let shortened = match serde_json::from_str(text) {
        Ok(mut value) => {
            cut_strings(&mut value);
            value.to_string()
        }
        // Reset the terminal's colors, since the reset at the end may have been cut off.
        Err(_) if text.contains('\u{1b}') => format!("{}\u{1b}[0m", cut(text, MAX_LINE)),
        Err(_) => cut(text, MAX_LINE).into_owned(),
    };
    Cow::Owned(shortened + "\n")
}

fn cut_strings(value: &mut Value) {
    match value {
        Value::String(text) => *text = cut(text, MAX_VALUE).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(cut_strings),
        Value::Object(fields) => fields.values_mut().for_each(cut_strings),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_beginning_of_a_long_text_is_formatted() {
        let all = (String::from("1 is é"), true);
        assert_eq!(beginning(format_args!("{} is é", 1), 7), all);
        let cut = (String::from("1 is "), false);
        assert_eq!(beginning(format_args!("{} is é", 1), 6), cut);
        let endless = std::iter::repeat_n('a', 1_000_000).collect::<String>();
        let (text, whole) = beginning(format_args!("{endless}"), 500);
        assert_eq!((text.len(), whole), (500, false));
    }

    #[test]
    fn cut_text_ends_with_the_number_of_bytes_cut() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "longe... (1 more bytes)");
        assert_eq!(
            cut("aé", 2),
            "a... (2 more bytes)",
            "must not cut inside a character"
        );
    }

    #[test]
    fn cut_line_ends_with_a_newline() {
        let short = "INFO ampd: ready\n";
        assert_eq!(line(short), short);
        let long = format!("ERROR ldk: {}\n", "x".repeat(65_000));
        let written = line(&long);
        assert!(written.len() < MAX_LINE + 50);
        assert!(written.starts_with("ERROR ldk: xxx") && written.ends_with(" more bytes)\n"));
    }

    #[test]
    fn cut_json_line_is_valid_json() {
        let long = json!({"level": "ERROR", "fields": {"message": "x".repeat(65_000), "line": 7}});
        let written = line(&format!("{long}\n")).into_owned();
        let read: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["fields"]["line"], 7);
        assert!(written.len() < 1_000 && written.ends_with("}\n"));
    }
}
