//! Escapes untrusted text so that it is safe to show on a terminal and in a spreadsheet.

use std::fmt::Write;

/// Escapes every [harmful](is_harmful) character as `\u{...}`. The result contains no terminal control
/// sequences, no line breaks and nothing that changes the direction of the surrounding text.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            // Writing to a string cannot fail.
            let _ = write!(safe, "{}", c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Returns whether the character is a control character, a line separator, a bidirectional control or
/// invisible. The joiners of emoji and of Persian (U+200C, U+200D) are allowed.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators.
            | '\u{2028}' | '\u{2029}'
            // Invisible: soft hyphen, zero-width space, word joiner and operators, byte order mark,
            // annotations, tags.
            | '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_control_and_bidirectional_characters() {
        for (text, expected) in [
            ("\u{1b}[2J", "\\u{1b}[2J"),
            (
                "a\r\nb\t\u{9b}1m\u{7f}",
                "a\\u{d}\\u{a}b\\u{9}\\u{9b}1m\\u{7f}",
            ),
            ("100\u{202e}.1", "100\\u{202e}.1"),
            ("\u{2066}x\u{2069}\u{200f}", "\\u{2066}x\\u{2069}\\u{200f}"),
            (
                "a\u{200b}b\u{feff}\u{2028}",
                "a\\u{200b}b\\u{feff}\\u{2028}",
            ),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn leaves_ordinary_text_unchanged() {
        for text in [
            "",
            "Grüße, 東京 \"½\" \\ ' ÷",
            "שלום مرحبا",
            "नमस्ते e\u{301}",
            "👩\u{200d}👧 ⚡",
        ] {
            assert_eq!(escape(text), text);
        }
    }
}
