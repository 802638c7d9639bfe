//! Command lines as lncli takes them, brought into the form that clap takes.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, value_parser};

/// Go's flags may begin with one dash; ours are spelled with underscores, dashes are as good.
pub fn normalize(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
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

/// `-conf-target=6` becomes `--conf_target=6`; what is no long flag is left alone.
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

/// Lets every switch be `--amp`, `--amp=true` or `--amp=false`, as Go has it.
pub fn go_switches(command: Command) -> Command {
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
    fn flags_may_have_one_dash_and_dashes_inside() {
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
