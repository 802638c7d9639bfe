//! Runs the built program: every command has a help text.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test may panic"
)]

use std::process::{Command, Output};

fn ampcli(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ampcli"));
    command.args(args).output().unwrap()
}

fn help(args: &[&str]) -> String {
    let output = ampcli(&[args, &["--help"]].concat());
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the names in the section "Commands:" of a help text.
fn commands(help: &str) -> Vec<String> {
    let section = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = section.take_while(|line| !line.is_empty());
    // A name has two spaces before it; the continuation of a description has more.
    let names = lines.filter_map(|line| {
        line.strip_prefix("  ")
            .filter(|line| !line.starts_with(' '))
    });
    names
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect()
}

#[test]
fn every_command_has_a_description() {
    let all = commands(&help(&[]));
    assert!(all.len() > 50, "{all:?}");
    for command in &all {
        let text = help(&[command]);
        assert!(text.contains("Usage: ampcli"), "{command}: {text}");
        let first = text.lines().next().unwrap_or_default();
        assert!(!first.starts_with("Usage:"), "{command} has no description");
        for subcommand in commands(&text) {
            help(&[command, &subcommand]);
        }
    }
}

#[test]
fn unknown_commands_fail_with_exit_code_2() {
    let output = ampcli(&["lookupinvioce"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("lookupinvoice"), "{error}");
}
