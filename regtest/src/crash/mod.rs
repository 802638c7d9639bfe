//! Crash rounds: nodes crash under load, then checks that nothing is lost or partly paid. They are
//! killed with `kill -9` at random times, or abort at one of ampd's named crash points.
//!
//! One network lives through all rounds, so that damage from an early round shows later. The seed
//! determines victims, times and payments; scheduling by the operating system is not repeatable.

mod closers;
pub mod interrupted;
mod ledgers;
mod load;
mod plan;
mod points;
pub mod reconcile;
mod senders;
mod sets;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::sleep;

use crate::binaries::Binaries;
use crate::network::{ChannelPlan, Network};
use crate::node::Software;
use closers::Closers;
use load::Load;
use plan::{Death, Plan};
use reconcile::Books;
use senders::Senders;

/// Alice and Bob pay each other through Carol, and pay Carol directly.
pub const NODES: [&str; 3] = ["alice", "bob", "carol"];
/// The forwarding node.
const MIDDLE: &str = "carol";
const CAPACITY_SAT: u64 = 10_000_000;
/// The default number of channels: more than one per pair, so that one update can affect several.
pub const CHANNELS: usize = 4;
/// An AMP set whose sender was killed may wait two minutes for its missing shards.
const END_LIMIT: Duration = Duration::from_secs(180);

/// Runs every crash point once: [`run_receiver_points`], [`run_sender_points`], [`run_closer_points`].
///
/// # Errors
/// Names the crash point and what was lost or stuck.
pub async fn run_points(binaries: Binaries) -> Result<()> {
    run_receiver_points(binaries.clone()).await?;
    run_sender_points(binaries.clone()).await?;
    run_closer_points(binaries).await
}

/// Runs every crash point of closing nodes once, each on its own channel, and prints a line for each.
///
/// # Errors
/// Names the crash point and what was lost or stuck.
pub async fn run_closer_points(binaries: Binaries) -> Result<()> {
    ensure_debug()?;
    println!("Starting two nodes that close channels ...");
    let mut closers = Closers::start(binaries).await?;
    closers.every_point().await?;
    closers.finish();
    Ok(())
}

/// Runs every crash point of receivers once, with a receiver of multi-shard payments, and prints a
/// line for each.
///
/// # Errors
/// Names the crash point and what was lost or stuck.
pub async fn run_receiver_points(binaries: Binaries) -> Result<()> {
    println!("Starting three nodes with {CHANNELS} channels ...");
    let mut crash = Crash::start(binaries, Middle::Ampd, CHANNELS).await?;
    crash.every_receiver_point().await?;
    crash.network.finish();
    Ok(())
}

/// Runs every crash point of senders once, with a sender of each kind of multi-part payment, and
/// prints a line for each.
///
/// # Errors
/// Names the crash point and what was lost, paid twice or stuck.
pub async fn run_sender_points(binaries: Binaries) -> Result<()> {
    println!("Starting three senders, two forwarders and a receiver ...");
    let mut senders = Senders::start(binaries).await?;
    senders.every_point().await?;
    senders.finish();
    Ok(())
}

/// The implementation of the node in the middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Middle {
    #[default]
    Ampd,
    /// It is killed like the others and forwards, but receives no payments itself.
    CoreLightning,
}

/// Crash rounds.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    pub rounds: u32,
    /// Determines victims, times and payments.
    pub seed: u64,
    pub middle: Middle,
    /// The channels of the node in the middle, half of them with each of the others.
    pub channels: usize,
}

/// Runs the rounds and prints a line for each.
///
/// # Errors
/// Names the round, the seed, and what was lost or stuck.
pub async fn run(binaries: Binaries, options: Rounds) -> Result<()> {
    let Rounds {
        rounds,
        seed,
        middle,
        channels,
    } = options;
    println!("Seed {seed}: starting three nodes with {channels} channels ...");
    let mut crash = Crash::start(binaries, middle, channels).await?;
    let start = Instant::now();
    for round in 1..=rounds {
        let plan = match middle {
            Middle::Ampd => Plan::of(seed, round),
            Middle::CoreLightning => Plan::of(seed, round).without_points_of(MIDDLE),
        };
        let report = crash.round(&plan).await;
        let report = report.with_context(|| format!("round {round} with seed {seed}: {plan}"))?;
        println!("{round:>4}  {plan:<44}  {report}");
    }
    crash.books.check_all(&crash.network).await?;
    println!(
        "{rounds} rounds with seed {seed} in {} s: {} payments succeeded, {} failed; no funds lost",
        start.elapsed().as_secs(),
        crash.books.succeeded,
        crash.books.failed,
    );
    ensure!(
        rounds == 0 || crash.books.succeeded > 0,
        "no payment succeeded"
    );
    crash.network.finish();
    Ok(())
}

/// A release build ignores crash points, so a round would wait forever.
fn ensure_debug() -> Result<()> {
    ensure!(
        cfg!(debug_assertions),
        "crash points exist only in debug builds: run this without --release"
    );
    Ok(())
}

/// The network that lives through all crashes and its expected state.
#[derive(Debug)]
struct Crash {
    network: Network,
    books: Books,
    /// Channel points, sorted; none may disappear or be added.
    channels: Vec<String>,
    /// Sum of all local balances in msat; payments only move funds between nodes.
    total_msat: u64,
}

impl Crash {
    /// Starts three nodes with this many channels, and pays once in each direction.
    async fn start(binaries: Binaries, middle: Middle, channels: usize) -> Result<Self> {
        ensure_debug()?;
        let software = |name| match middle {
            Middle::CoreLightning if name == MIDDLE => Software::CoreLightning,
            _ => Software::Ampd,
        };
        let network = Network::mixed(binaries, &NODES.map(|name| (name, software(name)))).await?;
        let pairs = [("alice", "carol"), ("carol", "bob")];
        let plans: Vec<ChannelPlan<'_>> = pairs
            .iter()
            .flat_map(|(from, to)| {
                let plan = ChannelPlan::new(from, to, CAPACITY_SAT).push(CAPACITY_SAT / 2);
                std::iter::repeat_n(plan, channels.div_ceil(2))
            })
            .collect();
        let mut crash = Self::on(network, &plans).await?;
        load::warm_up(&crash.network).await?;
        crash.books.update(&crash.network).await?;
        Ok(crash)
    }

    /// Opens these channels on that network.
    async fn on(network: Network, plans: &[ChannelPlan<'_>]) -> Result<Self> {
        let mut channels = network.open(plans).await?;
        channels.sort();
        let total_msat = network.check_balances().await?;
        Ok(Self {
            network,
            books: Books::default(),
            channels,
            total_msat,
        })
    }

    /// Runs load, crash, restart, settlement and checks. Returns the second half of the line to print.
    async fn round(&mut self, plan: &Plan) -> Result<String> {
        let start = Instant::now();
        if let Death::Abort {
            victim, point, nth, ..
        } = plan.death
        {
            self.network[victim].abort_at(point, nth);
            self.restart_in_order(victim).await?;
        }
        let load = Load::start(&self.network, plan).await?;
        match &plan.death {
            Death::Kill { victims, after } => {
                sleep(*after).await;
                self.network.kill(victims)?;
            }
            Death::Abort { victim, away, .. } => {
                self.network.kill(away.as_slice())?;
                self.network[*victim].wait_for_abort().await?;
                self.network[*victim].abort_nowhere();
            }
        }
        sleep(plan.down_for).await;
        self.network.restart(&plan.death.victims()).await?;
        sleep(plan.more_load).await;
        let broken = load.stop().await?;
        self.network.mine(1).await?;
        self.network.wait_usable().await?;
        self.books.wait_ended(&self.network, END_LIMIT).await?;
        self.network.wait_settled(END_LIMIT).await?;
        let before = (self.books.succeeded, self.books.failed);
        self.check().await?;
        Ok(format!(
            "{:>4} succeeded {:>3} failed {broken:>3} interrupted  {:>5.1} s",
            self.books.succeeded - before.0,
            self.books.failed - before.1,
            start.elapsed().as_secs_f32(),
        ))
    }

    async fn restart_in_order(&mut self, name: &str) -> Result<()> {
        let status = self.network[name].stop().await?;
        ensure!(status.success(), "{name} exited with {status}");
        self.network.restart(&[name]).await?;
        self.network.wait_usable().await
    }

    async fn check(&mut self) -> Result<()> {
        for node in self.network.nodes().filter(|node| !node.is_peer()) {
            let api = node.api()?;
            let closed = api.closed().await?.channels;
            ensure!(closed.is_empty(), "{} closed {closed:?}", node.name());
            let pending = api.pending().await?;
            let closing =
                pending.pending_force_closing_channels.len() + pending.waiting_close_channels.len();
            ensure!(
                closing == 0,
                "{} is closing {closing} channels",
                node.name()
            );
        }
        self.check_channels().await?;
        let total_msat = self.network.check_balances().await?;
        ensure!(
            total_msat == self.total_msat,
            "the sum of all balances was {} msat and is now {total_msat} msat",
            self.total_msat
        );
        self.books.update(&self.network).await
    }

    async fn check_channels(&self) -> Result<()> {
        let mut open = Vec::new();
        for node in self.network.nodes() {
            let channels = node.channels().await?;
            open.extend(channels.into_iter().map(|channel| channel.channel_point));
        }
        open.sort();
        open.dedup();
        if open != self.channels {
            bail!(
                "the open channels are {open:?} instead of {:?}",
                self.channels
            );
        }
        Ok(())
    }
}
