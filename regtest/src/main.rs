//! `cargo run -p regtest -- <command>`: runs a network of nodes on this machine.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use regtest::binaries::Binaries;
use regtest::{bench, crash, demo, up};

/// Run bitcoind (regtest) and a network of ampd nodes. Finds or downloads bitcoind and builds ampd.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send an AMP payment split across three routes between five nodes, and pay a static invoice twice
    Demo,
    /// Run a network to experiment with until Ctrl-C
    Up {
        /// Number of nodes
        #[arg(long, default_value_t = 3)]
        nodes: usize,
    },
    /// Measure payments per second and latency between two nodes. Use a --release build
    Bench(bench::Options),
    /// Crash nodes under load with kill -9 and at named crash points, and check that no funds are lost
    Crash {
        /// Number of rounds
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// Seed for victims, times and payments; random by default, printed at the start and the end
        #[arg(long)]
        seed: Option<u64>,
        /// Implementation of the node in the middle. For Core Lightning, set LIGHTNINGD_EXE
        #[arg(long, value_enum, default_value_t)]
        middle: crash::Middle,
        /// Number of channels of the node in the middle
        #[arg(long, default_value_t = crash::CHANNELS)]
        channels: usize,
        /// Instead, crash receivers, senders and closing nodes once at each named crash point
        #[arg(long, conflicts_with_all = ["rounds", "seed", "middle", "channels"])]
        points: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("regtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    if let Command::Bench(options) = &command {
        options.check()?;
    }
    let binaries = Binaries::build()?;
    match command {
        Command::Demo => demo::run(binaries).await,
        Command::Bench(options) => bench::run(binaries, options).await,
        Command::Up { nodes } => up::run(binaries, nodes).await,
        Command::Crash { points: true, .. } => crash::run_points(binaries).await,
        Command::Crash {
            rounds,
            seed,
            middle,
            channels,
            ..
        } => {
            let rounds = crash::Rounds {
                rounds,
                seed: seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
                middle,
                channels,
            };
            crash::run(binaries, rounds).await
        }
    }
}
