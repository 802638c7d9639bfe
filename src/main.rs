//! The ampd daemon: loads the config, starts the node, and stops it on a signal, an RPC or a failure.

use std::process::ExitCode;

use ampd::config::Config;
use ampd::log_levels::LogLevels;
use ampd::node::Node;
use ampd::signals::Signals;
use ampd::{logging, panics};

fn main() -> ExitCode {
    panics::abort_on_panic();
    crash_points::flush_log_with(logging::flush);
    let config = match Config::load(std::env::args_os(), |name| std::env::var_os(name)) {
        Ok(config) => config,
        Err(error) => {
            error.print();
            return ExitCode::from(error.exit_code());
        }
    };
    let ended = logging::start(&config.log)
        .map_err(anyhow::Error::from)
        .and_then(|levels| run(&config, levels));
    let failure = ended.err();
    let last_line = failure.map(|error| format!("ampd: {}", one_line(&error)));
    logging::finish(last_line.as_deref());
    if last_line.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Formats the error and its causes on one line. Causes that the error's text already names are not
/// repeated.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[tokio::main]
async fn run(config: &Config, levels: LogLevels) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let node = tokio::select! {
        node = Node::start(config, levels) => node?,
        _ = signals.told_to_stop() => return Ok(()),
    };
    let mut outcome = Ok(());
    tokio::select! {
        why = signals.told_to_stop() => tracing::info!("{why}: the node is shutting down"),
        stopped = node.stopped() => {
            tracing::info!("the node is shutting down");
            outcome = stopped;
        }
    }
    let stopping = node.stop();
    tokio::select! {
        stopped = stopping => Ok(stopped.map(|()| outcome)??),
        () = signals.interrupted() => anyhow::bail!("interrupted twice: stopped without a final commit"),
    }
}
