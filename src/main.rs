//! ampd: arguments -> Config -> Node::start -> wait for a signal -> Node::stop.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use ampd::config::{Config, Log, LogFormat};
use ampd::log_levels::LogLevels;
use ampd::node::Node;
use ampd::panics;
use ampd::signals::Signals;
use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;

fn main() -> ExitCode {
    panics::abort_on_panic();
    let config = match Config::load(std::env::args_os(), |name| std::env::var_os(name)) {
        Ok(config) => config,
        Err(error) => {
            error.print();
            return ExitCode::from(error.exit_code());
        }
    };
    match start_log(&config.log).and_then(|levels| run(&config, levels)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may read stderr any more.
            let _ = writeln!(std::io::stderr(), "ampd: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes. Most errors name their cause in their own text; it is said once.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Log lines go to stderr; if nobody reads them any more they are lost, and the node goes on. What is
/// logged can be changed later.
fn start_log(log: &Log) -> anyhow::Result<LogLevels> {
    let filter = EnvFilter::try_new(&log.filter).context("log-level")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // tracing would report a line that cannot be written on stderr, and panic if that fails, too.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // The two have different types.
    match log.format {
        LogFormat::Text => {
            let lines = lines.with_filter_reloading();
            let levels = levels(log, lines.reload_handle());
            started(lines.try_init()).map(|()| levels)
        }
        LogFormat::Json => {
            let lines = lines.json().with_filter_reloading();
            let levels = levels(log, lines.reload_handle());
            started(lines.try_init()).map(|()| levels)
        }
    }
}

fn levels<S: 'static>(log: &Log, handle: Handle<EnvFilter, S>) -> LogLevels {
    LogLevels::new(&log.filter, move |filter| {
        handle.reload(filter).map_err(|error| error.to_string())
    })
}

fn started<E: std::fmt::Display>(started: Result<(), E>) -> anyhow::Result<()> {
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

#[tokio::main]
async fn run(config: &Config, levels: LogLevels) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let node = tokio::select! {
        node = Node::start(config, levels) => node?,
        _ = signals.told_to_stop() => return Ok(()),
    };
    let mut wanted = Ok(());
    tokio::select! {
        why = signals.told_to_stop() => tracing::info!("{why}: the node stops"),
        stopped = node.stopped() => {
            tracing::info!("the node stops");
            wanted = stopped;
        }
    }
    let stopping = node.stop();
    tokio::select! {
        stopped = stopping => Ok(stopped.map(|()| wanted)??),
        () = signals.interrupted() => anyhow::bail!("interrupted twice: stopped without a last commit"),
    }
}
