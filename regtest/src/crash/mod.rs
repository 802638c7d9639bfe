//! Crash rounds: nodes die under load, then a check that nothing is lost and nothing half paid. They
//! die by `kill -9` at random times, or abort at one of ampd's named points.
//!
//! The network lives through all rounds, so that damage of an early round shows in a later one.
//! The seed decides on victims, times and payments. What the operating system and the network
//! stack do in between is not repeatable, of course.

pub mod books;
mod closers;
pub mod interrupted;
mod ledgers;
mod load;
mod plan;
mod points;
mod senders;
mod sets;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::sleep;

use crate::binaries::Binaries;
use crate::network::{ChannelPlan, Network};
use crate::node::Software;
use books::Books;
use closers::Closers;
use load::Load;
use plan::{Death, Plan};
use senders::Senders;

/// Alice and Bob pay each other over Carol, and Carol directly.
pub const NODES: [&str; 3] = ["alice", "bob", "carol"];
/// Who forwards.
const MIDDLE: &str = "carol";
const CAPACITY_SAT: u64 = 10_000_000;
/// Each pair has more than one channel, so that one update can touch several.
const CHANNELS_PER_PAIR: usize = 2;
/// An AMP set whose sender was killed may wait two minutes for its other shards.
const END_LIMIT: Duration = Duration::from_secs(180);

/// Every named point once: [`run_receiver_points`], [`run_sender_points`], [`run_closer_points`].
///
/// # Errors
/// Says the point, and what was lost or stuck.
pub async fn run_points(binaries: Binaries) -> Result<()> {
    run_receiver_points(binaries.clone()).await?;
    run_sender_points(binaries.clone()).await?;
    run_closer_points(binaries).await
}

/// Every point of closing nodes once, each with a channel of its own; prints a line for each.
///
/// # Errors
/// Says the point, and what was lost or stuck.
pub async fn run_closer_points(binaries: Binaries) -> Result<()> {
    ensure_debug()?;
    println!("starting two nodes that close channels ...");
    let mut closers = Closers::start(binaries).await?;
    closers.every_point().await?;
    closers.finish();
    Ok(())
}

/// Every point of receivers once, with a receiver of payments in several shards; prints a line for
/// each.
///
/// # Errors
/// Says the point, and what was lost or stuck.
pub async fn run_receiver_points(binaries: Binaries) -> Result<()> {
    println!("starting three nodes with four channels ...");
    let mut crash = Crash::start(binaries, Middle::Ampd).await?;
    crash.every_receiver_point().await?;
    crash.network.finish();
    Ok(())
}

/// Every point of senders once, with a sender of each kind of payment in several parts; prints a line
/// for each.
///
/// # Errors
/// Says the point, and what was lost, paid twice or stuck.
pub async fn run_sender_points(binaries: Binaries) -> Result<()> {
    println!("starting three senders, two forwarders and a receiver ...");
    let mut senders = Senders::start(binaries).await?;
    senders.every_point().await?;
    senders.finish();
    Ok(())
}

/// The program of the node in the middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Middle {
    #[default]
    Ampd,
    /// It is killed like the others, forwards, and is paid nothing itself.
    CoreLightning,
}

/// Runs so many rounds and prints a line for each.
///
/// # Errors
/// Says the round, the seed, and what was lost or stuck.
pub async fn run(binaries: Binaries, rounds: u32, seed: u64, middle: Middle) -> Result<()> {
    println!("seed {seed}: starting three nodes with four channels ...");
    let mut crash = Crash::start(binaries, middle).await?;
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
        "{rounds} rounds with seed {seed} in {} s: {} payments succeeded, {} failed; nothing lost",
        start.elapsed().as_secs(),
        crash.books.succeeded,
        crash.books.failed,
    );
    ensure!(
        rounds == 0 || crash.books.succeeded > 0,
        "not a single payment succeeded"
    );
    crash.network.finish();
    Ok(())
}

/// A release build passes the points unseen, and a round would wait for its end in vain.
fn ensure_debug() -> Result<()> {
    ensure!(
        cfg!(debug_assertions),
        "nodes die at named points in debug builds only: run this without --release"
    );
    Ok(())
}

/// The network that lives through all crashes, and what is known of it.
#[derive(Debug)]
struct Crash {
    network: Network,
    books: Books,
    /// Channel points, sorted: none may go, none may come.
    channels: Vec<String>,
    /// The sum of all own balances in msat: payments only move it between nodes.
    total_msat: u64,
}

impl Crash {
    /// Three nodes with four channels, all used once.
    async fn start(binaries: Binaries, middle: Middle) -> Result<Self> {
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
                [plan; CHANNELS_PER_PAIR]
            })
            .collect();
        let mut crash = Self::on(network, &plans).await?;
        load::warm_up(&crash.network).await?;
        crash.books.update(&crash.network).await?;
        Ok(crash)
    }

    /// These channels on that network.
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

    /// Load, kill, restart, settle, check. Returns the line's second half.
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
            "{:>4} succeeded {:>3} failed {broken:>3} cut off  {:>5.1} s",
            self.books.succeeded - before.0,
            self.books.failed - before.1,
            start.elapsed().as_secs_f32(),
        ))
    }

    async fn restart_in_order(&mut self, name: &str) -> Result<()> {
        let status = self.network[name].stop().await?;
        ensure!(status.success(), "{name} ended with {status}");
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
            "all balances together were {} msat and are {total_msat} msat",
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
