//! `cargo run -p regtest -- <command>`: a network of nodes on this machine, ready to use.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use regtest::binaries::Binaries;
use regtest::{bench, crash, demo, up};

/// Starts bitcoind (regtest) and a network of ampd nodes. Finds or fetches bitcoind, builds ampd.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Five nodes and an AMP payment over three ways, explained
    Demo,
    /// A network to play with, until Ctrl-C
    Up {
        /// How many nodes
        #[arg(long, default_value_t = 3)]
        nodes: usize,
    },
    /// How many payments per second two nodes make, and how long each takes. Use it with --release
    Bench(bench::Options),
    /// Nodes die under load, again and again: by kill -9 and at named points. A check that nothing is
    /// lost
    Crash {
        /// How many rounds
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// Chooses victims, times and payments; printed at the end
        #[arg(long)]
        seed: Option<u64>,
        /// Which program the node in the middle is. LIGHTNINGD_EXE names Core Lightning's
        #[arg(long, value_enum, default_value_t)]
        middle: crash::Middle,
        /// Instead: every named point once, of receivers, of senders, and of closing nodes
        #[arg(long, conflicts_with_all = ["rounds", "seed", "middle"])]
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
            ..
        } => {
            let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
            crash::run(binaries, rounds, seed, middle).await
        }
    }
}
