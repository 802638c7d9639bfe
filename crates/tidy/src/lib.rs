//! Rules for the source files of this repository that the compiler does not check, as tests.
//!
//! * `text`: column width, file length, a `//!` at the top of every file, words not to use;
//! * `functions`: the length of functions;
//! * `imports`: no module imports a module above it, no modules import each other in a cycle;
//! * `files`: every source file belongs to a crate;
//! * `harness`: no test attribute is without effect.
//!
//! Each rule is a function from source text to findings, so that its own tests run on small examples.

#![cfg(test)]

mod files;
mod functions;
mod graph;
mod harness;
mod imports;
mod modules;
mod text;

use std::fmt;
use std::path::PathBuf;

/// A violation of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: PathBuf,
    /// 1 for the first line.
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// Fails with one line per finding.
#[track_caller]
fn report(mut findings: Vec<Finding>) {
    findings.sort();
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} findings:\n{}",
        lines.len(),
        lines.join("\n")
    );
}
