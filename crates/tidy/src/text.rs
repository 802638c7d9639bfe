//! Rules about the text of source files.

use crate::Finding;
use crate::files::Source;

/// Widest line, in characters. rustfmt keeps code within 100 but wraps neither strings nor comments.
const MAX_COLUMNS: usize = 110;
/// Longest file, in lines.
const MAX_LINES: usize = 500;
/// Words that a Lightning engineer would not expect, in lower case, and what to write in their place.
const WORDS: [(&str, &str); 14] = [
    ("anew", "again"),
    ("by and by", "gradually"),
    ("by itself", "automatically"),
    ("gives back", "returns, or fails back for an HTLC"),
    ("goes back to its sender", "is failed back"),
    ("in vain", "without success"),
    ("is no amount", "is not an amount"),
    ("over restarts", "across restarts"),
    ("so many of", "the number of"),
    ("tells of", "reports"),
    ("told to stop", "shutting down"),
    ("whoever", "the caller, the peer, the user"),
    ("rooms", "modules or context"),
    ("the house", "the node"),
];

/// Findings of one file.
fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, what| {
        findings.push(Finding {
            file: source.path.clone(),
            line,
            what,
        });
    };
    if !source.text.starts_with("//!") {
        find(
            1,
            "the file does not start with a //! comment that says what it is for".to_owned(),
        );
    }
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        find(1, format!("{lines} lines, more than {MAX_LINES}"));
    }
    for (line, text) in (1..).zip(source.text.lines()) {
        let columns = text.chars().count();
        // Rows of a table cannot be wrapped.
        if columns > MAX_COLUMNS && !text.trim_start().starts_with("//! |") {
            find(line, format!("{columns} columns, more than {MAX_COLUMNS}"));
        }
        for (word, better) in WORDS {
            if contains_word(text, word) {
                find(line, format!("{word:?}: write {better}"));
            }
        }
    }
    findings
}

/// Returns whether the text contains these words, in any case, as whole words.
fn contains_word(text: &str, word: &str) -> bool {
    let text = text.to_lowercase();
    let ends_word = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(start, found)| {
        ends_word(text[..start].chars().next_back())
            && ends_word(text[start + found.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{files, report};

    #[test]
    fn source_files_follow_the_rules() {
        // This file contains the words.
        let here = Path::new("crates/tidy/src/text.rs");
        let sources = files::sources();
        report(
            sources
                .iter()
                .filter(|source| source.path != here)
                .flat_map(check)
                .collect(),
        );
    }

    fn findings(text: &str) -> Vec<String> {
        let path = "a.rs".into();
        let source = Source {
            path,
            text: text.to_owned(),
        };
        check(&source).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finds_wide_lines_in_characters() {
        let fits = format!("//! {}\n", "ü".repeat(MAX_COLUMNS - 4));
        assert_eq!(findings(&fits), Vec::<String>::new());
        let wide = format!("//! {}\n", "ü".repeat(MAX_COLUMNS - 3));
        assert_eq!(findings(&wide), ["a.rs:1: 111 columns, more than 110"]);
    }

    #[test]
    fn finds_long_files() {
        let long = format!("//! Long.{}", "\n".repeat(MAX_LINES + 1));
        assert_eq!(findings(&long), ["a.rs:1: 501 lines, more than 500"]);
    }

    #[test]
    fn finds_files_without_a_comment_at_the_top() {
        assert_eq!(findings("fn f() {}\n").len(), 1);
    }

    #[test]
    fn finds_words_but_not_parts_of_words() {
        assert_eq!(
            findings("//! Starts Anew.\n"),
            ["a.rs:1: \"anew\": write again"]
        );
        assert_eq!(findings("//! A name_anew, janewa.\n"), Vec::<String>::new());
    }
}
