//! Long lines are cut: what a peer wrote can be 65,000 bytes long.

use std::borrow::Cow;
use std::fmt::{self, Write};

use serde_json::Value;

/// A line of the log, bytes. Only what strangers write is longer; most of ours have a few hundred.
const MAX_LINE: usize = 4_000;
/// A text within a line of JSON that is too long, bytes.
const MAX_VALUE: usize = 500;

/// The text, or its beginning and how much is missing.
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

/// The beginning of a text, and whether that is all of it. What is missing is not even formatted: LDK writes
/// what a peer said character by character.
#[must_use]
pub fn beginning(text: fmt::Arguments<'_>, max_bytes: usize) -> (String, bool) {
    let mut beginning = Beginning {
        text: String::new(),
        max_bytes,
    };
    let whole = beginning.write_fmt(text).is_ok();
    (beginning.text, whole)
}

/// Refuses what is beyond its end.
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

/// A whole line as it is written, with its end. Valid JSON stays valid JSON.
pub(super) fn line(line: &str) -> Cow<'_, str> {
    if line.len() <= MAX_LINE {
        return Cow::Borrowed(line);
    }
    let text = line.trim_end();
    let shortened = match serde_json::from_str(text) {
        Ok(mut value) => {
            values(&mut value);
            value.to_string()
        }
        // The colours of a terminal end with the line.
        Err(_) if text.contains('\u{1b}') => format!("{}\u{1b}[0m", cut(text, MAX_LINE)),
        Err(_) => cut(text, MAX_LINE).into_owned(),
    };
    Cow::Owned(shortened + "\n")
}

fn values(value: &mut Value) {
    match value {
        Value::String(text) => *text = cut(text, MAX_VALUE).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(values),
        Value::Object(fields) => fields.values_mut().for_each(values),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_long_text_only_the_beginning_is_formatted() {
        let all = (String::from("1 is é"), true);
        assert_eq!(beginning(format_args!("{} is é", 1), 7), all);
        let cut = (String::from("1 is "), false);
        assert_eq!(beginning(format_args!("{} is é", 1), 6), cut);
        let endless = std::iter::repeat_n('a', 1_000_000).collect::<String>();
        let (text, whole) = beginning(format_args!("{endless}"), 500);
        assert_eq!((text.len(), whole), (500, false));
    }

    #[test]
    fn a_short_text_stays_and_a_long_one_says_what_is_missing() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "longe... (1 more bytes)");
        assert_eq!(
            cut("aé", 2),
            "a... (2 more bytes)",
            "not within a character"
        );
    }

    #[test]
    fn a_long_line_is_cut_and_still_ends() {
        let short = "INFO ampd: ready\n";
        assert_eq!(line(short), short);
        let long = format!("ERROR ldk: {}\n", "x".repeat(65_000));
        let written = line(&long);
        assert!(written.len() < MAX_LINE + 50);
        assert!(written.starts_with("ERROR ldk: xxx") && written.ends_with(" more bytes)\n"));
    }

    #[test]
    fn a_long_line_of_json_is_cut_within_its_texts() {
        let long = json!({"level": "ERROR", "fields": {"message": "x".repeat(65_000), "line": 7}});
        let written = line(&format!("{long}\n")).into_owned();
        let read: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["fields"]["line"], 7);
        assert!(written.len() < 1_000 && written.ends_with("}\n"));
    }
}
