//! `ampcli`: a command-line client with lncli's commands and flags. A command makes one or two RPCs and
//! prints JSON on stdout.
//!
//! Each module has a group of related commands: a struct with the flags, and `run`, which builds the
//! request, calls the node and prints the response.

// Doc comments of commands and flags are help texts, not Markdown.
#![allow(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags
)]

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

mod arguments;
mod cancel_invoice;
mod chain_payments;
mod chain_transactions;
mod channels;
mod close_all;
mod close_channel;
mod commands;
mod completion;
mod connection;
mod daemon;
mod delete_payments;
mod donations;
mod error;
mod follow;
mod forwarding;
mod graph;
mod hold_invoices;
mod invoice_events;
mod invoice_lookup;
mod invoice_payments;
mod invoices;
mod keysend;
mod lndconnect;
mod macaroon_files;
mod macaroons;
mod messages;
mod node;
mod open_channel;
mod output;
mod pay;
mod payment_flags;
mod payment_table;
mod payments;
mod peers;
mod prompt;
mod qr;
mod route_hints;
mod routes;
mod send_to_route;
mod table;
mod values;
mod wallet;
mod wallet_kit;

use error::CliError;

use commands::Command;
use connection::Target;

/// Command-line client for ampd, compatible with lnd's lncli.
#[derive(Debug, Parser)]
#[command(
    name = "ampcli",
    version,
    rename_all = "snake_case",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(std::env::args_os()).await
}

/// Runs one command line; the first argument is the program's name.
///
/// Exit codes: 0 for success, 1 if the command failed (the reason is on stderr), 2 for a usage error.
async fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(error) => {
            // If stdout or stderr is closed, there is no way to report this error.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match execute(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("[ampcli] {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments::normalize(args))?;
    Cli::from_arg_matches(&matches)
}

fn command() -> clap::Command {
    arguments::go_switches(Cli::command())
}

async fn execute(cli: Cli) -> Result<(), CliError> {
    cli.command.run(&cli.target).await
}

#[cfg(test)]
mod tests;
