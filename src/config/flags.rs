//! ampd's command line, built from the table of keys.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use zeroize::Zeroizing;

use super::error::ConfigError;
use super::keys::{self, Key, Kind, SECTIONS};
use super::layers::{Layer, RawValue};
use super::source::Source;

const ABOUT: &str =
    "A Lightning node that sends and receives Atomic Multi-path Payments, on top of bitcoind.";

const AFTER_HELP: &str = "\
Every setting can be given as a flag, an environment variable (AMPD_ACCEPT_AMP) or a line of the
config file (accept-amp = true), in this order of precedence. bitcoind-rpc-password has no flag.
config.example.toml documents all keys. Use ampcli to control the running node.";

/// The parsed command line.
#[derive(Debug)]
pub(super) struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    pub layer: Layer,
}

/// Reads the command line; the first argument is the program's name.
///
/// # Errors
/// If a flag is unknown, lacks its value or names a secret; also for `--help` and `--version`, which
/// clap reports as errors.
pub(super) fn parse(args: impl Iterator<Item = OsString>) -> Result<Flags, ConfigError> {
    let args: Vec<_> = args.collect();
    refuse_secrets(&args)?;
    let matches = command()
        .try_get_matches_from(args)
        .map_err(ConfigError::Arguments)?;
    let layer = keys::all()
        .filter_map(|key| Some((key.name, raw_value(&matches, key)?)))
        .collect();
    Ok(Flags {
        config: matches.get_one::<PathBuf>("config").cloned(),
        layer,
    })
}

fn raw_value(matches: &ArgMatches, key: &'static Key) -> Option<RawValue> {
    if key.secret || matches.value_source(key.name) != Some(ValueSource::CommandLine) {
        return None;
    }
    let texts = matches
        .get_many::<String>(key.name)?
        .cloned()
        .collect::<Vec<_>>();
    match key.kind {
        Kind::List | Kind::Numbers => {
            Some(RawValue::from_text(key, &texts.join(","), Source::Flag))
        }
        _ => Some(RawValue {
            texts: Zeroizing::new(texts),
            source: Source::Flag,
        }),
    }
}

fn refuse_secrets(args: &[OsString]) -> Result<(), ConfigError> {
    let names = |arg: &OsStr, key: &Key| {
        let flag = arg.to_str().and_then(|arg| arg.strip_prefix("--"));
        flag.is_some_and(|flag| flag.split('=').next() == Some(key.name))
    };
    let secrets = || keys::all().filter(|key| key.secret);
    match args
        .iter()
        .find_map(|arg| secrets().find(|key| names(arg, key)))
    {
        Some(key) => Err(ConfigError::SecretFlag {
            key: key.name,
            variable: key.variable(),
        }),
        None => Ok(()),
    }
}

/// Returns the clap command with all flags.
#[must_use]
pub(super) fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("PATH")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Path of the config file [default: <data-dir>/ampd.toml if it exists]");
    let command = Command::new("ampd")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .arg(config);
    SECTIONS.iter().fold(command, |command, section| {
        let keys = section.keys.iter().filter(|key| !key.secret);
        command.args(keys.map(|key| flag(key).help_heading(section.title)))
    })
}

fn flag(key: &'static Key) -> Arg {
    let (short, _) = key.doc.split_once('\n').unwrap_or((key.doc, ""));
    let notes = notes(key);
    let arg = Arg::new(key.name)
        .long(key.name)
        .help(format!("{short}{notes}"))
        .long_help(format!("{}{notes}", key.doc));
    match key.kind {
        Kind::Switch => arg
            .value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::List | Kind::Numbers => arg.value_name("LIST").action(ArgAction::Append),
        Kind::Number => arg.value_name("NUMBER"),
        Kind::Text => arg.value_name("TEXT"),
    }
}

fn notes(key: &Key) -> String {
    match key.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_key_except_secrets_has_a_flag() {
        let help = command().render_long_help().to_string();
        for key in keys::all() {
            let flag = format!("--{}", key.name);
            let listed = help
                .lines()
                .any(|line| line.trim_start().starts_with(&flag));
            assert_eq!(listed, !key.secret, "{}", key.name);
        }
    }
}
