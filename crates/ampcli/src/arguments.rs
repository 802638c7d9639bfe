//! Conversion of lncli's command-line syntax to that of clap.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, value_parser};

/// Converts flags to the form `--with_underscores`. As in Go, a single dash is accepted; dashes inside names
/// are accepted as well.
pub(crate) fn normalize(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut only_values = false;
    args.map(|arg| {
        only_values |= arg == "--";
        match arg.to_str() {
            Some(text) if !only_values => flag(text).map_or(arg, OsString::from),
            _ => arg,
        }
    })
    .collect()
}

/// Converts a long flag, such as `-conf-target=6`, to `--conf_target=6`. Returns `None` for other arguments.
fn flag(text: &str) -> Option<String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let name = name.strip_prefix("--").or_else(|| name.strip_prefix('-'))?;
    let is_long = name.len() > 1 && name.starts_with(|first: char| first.is_ascii_lowercase());
    let name = name.replace('-', "_");
    is_long.then(|| match value {
        Some(value) => format!("--{name}={value}"),
        None => format!("--{name}"),
    })
}

/// Makes every switch accept the forms `--amp`, `--amp=true` and `--amp=false`, as in Go.
pub(crate) fn go_switches(command: Command) -> Command {
    let names: Vec<_> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    let command = command.mut_args(go_switch);
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, go_switches)
    })
}

fn go_switch(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_name("true|false")
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_parser(value_parser!(bool))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_accept_a_single_dash_and_inner_dashes() {
        let args = [
            "ampcli",
            "-amt=5",
            "--conf-target",
            "6",
            "-f",
            "-5",
            "--a-b=c-d",
            "--",
            "--e-f",
        ];
        let expected = [
            "ampcli",
            "--amt=5",
            "--conf_target",
            "6",
            "-f",
            "-5",
            "--a_b=c-d",
            "--",
            "--e-f",
        ];
        assert_eq!(
            normalize(args.into_iter().map(OsString::from)),
            expected.map(OsString::from)
        );
    }
}
