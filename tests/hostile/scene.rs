//! A small network whose middle node is attacked: Alice pays Bob through the victim.

use std::fs::File;
use std::future::Future;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use regtest::api::amp_to;
use regtest::bench::meters;
use regtest::network::{ChannelPlan, Network};
use regtest::raw_peer::Target;
use regtest::wait::wait_for;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

use crate::attacker::{Attacker, Tally};
use crate::escape::Escape;
use crate::gauges::{Gauges, Meter, Watch};
use crate::honest::{self, Payments};
use crate::{binaries, limits, new_peer};

/// Runs one test at a time, because they measure.
static TURN: Mutex<()> = Mutex::const_new(());

const CAPACITY_SAT: u64 = 5_000_000;
/// Capacity of a channel with the offline peer; its HTLC exceeds half, so the next takes another channel.
const ESCAPE_SAT: u64 = 1_000_000;
const HTLC_SAT: i64 = 600_000;
/// Each claim of an HTLC needs its own confirmed UTXO.
const COINS: usize = 8;
const COIN_SAT: u64 = 100_000;
/// How long payments are counted with and without an attack.
const MEASUREMENT_TIME: Duration = Duration::from_secs(4);
/// Time for the attack to start before payments are counted.
const HEAD_START: Duration = Duration::from_secs(1);
/// Number of measurements if the speed is too low, in case another program used the CPU.
const MEASUREMENTS: usize = 3;
/// A node is idle if it uses less than a fifth of this time.
const CALM_WINDOW: Duration = Duration::from_millis(300);
const CALM_TRIES: usize = 60;
/// Timeout after the end of the attack.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// The only address of the attackers.
const ATTACKERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// Alice, the victim, Bob, and channels of the victim with an offline peer.
pub(crate) struct Scene {
    pub network: Network,
    pub target: Target,
    escapes: Vec<Escape>,
    violations: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

/// An attack.
pub(crate) struct Attack<F> {
    pub name: &'static str,
    /// Whether the attacker occupies a CPU core. If so, payments without the attack are counted while a core
    /// is equally busy.
    pub busy: bool,
    /// The attack, which is run repeatedly.
    pub run: F,
}

impl Scene {
    /// Prepares `escapes` channels that the victim can force-close.
    pub(crate) async fn start(escapes: usize) -> Result<Self> {
        Self::with(escapes, &[], None).await
    }

    /// With more nodes, which have funds but no channels, and with the victim's log in `log` if given.
    pub(crate) async fn with(escapes: usize, others: &[&str], log: Option<File>) -> Result<Self> {
        let turn = TURN.lock().await;
        let mut network = Network::start(binaries()).await?;
        let mut nodes = Vec::new();
        let usual = ["alice", "victim", "bob", "gone"];
        for name in usual.iter().chain(others) {
            let mut node = network.prepare(name)?;
            node.set_raw("accept-amp", "true");
            nodes.push(node);
        }
        // The log is measured at the default level.
        nodes[1].unset("log-level");
        if let Some(log) = log {
            nodes[1].log_into(log);
        }
        network.add(nodes).await?;
        let mut plans = vec![
            ChannelPlan::new("alice", "victim", CAPACITY_SAT),
            ChannelPlan::new("victim", "bob", CAPACITY_SAT),
        ];
        plans.extend((0..escapes).map(|_| ChannelPlan::new("gone", "victim", ESCAPE_SAT)));
        network.open(&plans).await?;
        give_coins(&network).await?;
        let target = Target::of(&network["victim"])?.from(ATTACKERS);
        network
            .pay("alice", &amp_to(network["bob"].key(), 1_000)?)
            .await?;
        let mut prepared = Vec::new();
        for _ in 0..escapes {
            prepared.push(Escape::prepare(&network, HTLC_SAT).await?);
        }
        network.kill(&["gone"])?;
        Ok(Self {
            network,
            target,
            escapes: prepared,
            violations: Vec::new(),
            _turn: turn,
        })
    }

    /// Runs an attack and records violated limits.
    pub(crate) async fn endure<F, R>(&mut self, attack: Attack<F>) -> Result<()>
    where
        F: Fn(Target, Tally) -> R + Clone + Send + 'static,
        R: Future<Output = Result<()>>,
    {
        let meter = Meter::of(&self.network["victim"])?;
        let started = Instant::now();
        // Excludes the slow first payments after a pause, and the WAL's growth by any activity.
        honest::pay(&self.network, HEAD_START).await?;
        let watch = Watch::start(meter.clone())?;
        let mut attacker = None;
        let mut speed = String::new();
        for measurement in 1..=MEASUREMENTS {
            drop(attacker.take());
            self.calm().await?;
            let without = self.payments_without(attack.busy).await?;
            let begun = attacker.insert(self.attacker(&attack));
            sleep(HEAD_START).await;
            let with = honest::pay(&self.network, MEASUREMENT_TIME).await?;
            speed += &format!("; {}", compared(without, with));
            ensure!(begun.sent() > 0, "{}: nothing was sent", attack.name);
            if with.failed > 0 {
                self.violation(attack.name, format!("{} payments failed", with.failed));
            }
            if with.per_second >= limits::SPEED * without.per_second {
                break;
            }
            if measurement == MEASUREMENTS {
                self.violation(attack.name, compared(without, with));
            }
        }
        self.check_operation(attack.name, "during").await;
        let sent = attacker.map(Attacker::stop).transpose()?.unwrap_or(0);
        self.check_operation(attack.name, "after").await;
        let (before, most) = watch.finish()?;
        let minutes = started.elapsed().as_secs() / 60 + 1;
        let left = self.wait_disconnected(attack.name, &meter, before).await?;
        println!(
            "{}: {sent} sent in {:?}{speed}; {}",
            attack.name,
            started.elapsed(),
            used(before, most, left)
        );
        self.check(attack.name, before, most, minutes);
        Ok(())
    }

    /// Finishes the test.
    ///
    /// # Errors
    /// If a limit was violated; the error lists all violations.
    pub(crate) fn finish(self) -> Result<()> {
        if !self.violations.is_empty() {
            bail!("violated limits:\n{}", self.violations.join("\n"));
        }
        self.network.finish();
        Ok(())
    }

    /// Records a violation.
    pub(crate) fn violation(&mut self, attack: &str, what: String) {
        println!("{attack}: {what}");
        self.violations.push(format!("{attack}: {what}"));
    }

    fn attacker<F, R>(&self, attack: &Attack<F>) -> Attacker
    where
        F: Fn(Target, Tally) -> R + Clone + Send + 'static,
        R: Future<Output = Result<()>>,
    {
        let (target, run) = (self.target.clone(), attack.run.clone());
        Attacker::start(move |tally| run(target.clone(), tally))
    }

    /// Waits, within limits, until the victim has processed the attackers' messages.
    async fn calm(&self) -> Result<()> {
        let pid = self.network["victim"].pid()?;
        for _ in 0..CALM_TRIES {
            let before = meters::cpu(pid)?;
            sleep(CALM_WINDOW).await;
            if meters::cpu(pid)? - before < CALM_WINDOW / 5 {
                break;
            }
        }
        Ok(())
    }

    async fn payments_without(&self, busy: bool) -> Result<Payments> {
        let harmless = busy.then(Attacker::harmless);
        let payments = honest::pay(&self.network, MEASUREMENT_TIME).await?;
        harmless.map(Attacker::stop).transpose()?;
        Ok(payments)
    }

    /// Opens a channel with a new peer; force-closes a channel and claims its HTLC, if one is left.
    async fn check_operation(&mut self, attack: &str, when: &str) {
        match new_peer::opens_a_channel(&self.network).await {
            Ok(took) => println!("{attack}: {when} it, a new peer had a channel after {took:?}"),
            Err(error) => self.violation(
                attack,
                format!("{when} it, opening a channel failed: {error:#}"),
            ),
        }
        let Some(escape) = self.escapes.pop() else {
            return;
        };
        match escape.run(&self.network).await {
            Ok((close, claim)) => {
                println!("{attack}: {when} it, a close took {close:?}, a claim {claim:?}");
            }
            Err(error) => self.violation(
                attack,
                format!("{when} it, a forced close failed: {error:#}"),
            ),
        }
    }

    /// Waits until the node has closed the attackers' connections.
    async fn wait_disconnected(
        &mut self,
        attack: &str,
        meter: &Meter,
        before: Gauges,
    ) -> Result<Gauges> {
        let most = before.descriptors + limits::DESCRIPTORS_LEFT;
        let gone = wait_for("descriptors to be closed", DISCONNECT_TIMEOUT, async || {
            let now = meter.read()?.descriptors;
            ensure!(
                now <= most,
                "{now} descriptors, previously {}",
                before.descriptors
            );
            Ok(())
        });
        if let Err(error) = gone.await {
            self.violation(attack, format!("{error:#}"));
        }
        meter.read()
    }

    fn check(&mut self, attack: &str, before: Gauges, most: Gauges, minutes: u64) {
        let grown = [
            ("memory", most.memory - before.memory, limits::MEMORY),
            (
                "the database",
                most.database - before.database,
                limits::DATABASE,
            ),
            ("the WAL", most.database_log, limits::DATABASE_LOG),
            (
                "the log",
                most.log - before.log,
                limits::LOG_PER_MINUTE * minutes,
            ),
            (
                "descriptors",
                most.descriptors - before.descriptors,
                limits::DESCRIPTORS,
            ),
        ];
        for (what, by, limit) in grown {
            if by > limit {
                self.violation(attack, format!("{what} grew by {by}, limit {limit}"));
            }
        }
    }
}

async fn give_coins(network: &Network) -> Result<()> {
    let victim = network["victim"].api()?;
    let mut outputs = Vec::new();
    for _ in 0..COINS {
        outputs.push((victim.address().await?, COIN_SAT));
    }
    network.bitcoind.fund(&outputs).await?;
    network.mine(1).await
}

fn compared(without: Payments, with: Payments) -> String {
    format!(
        "{:.1} payments/s, {:.1} without the attack (longest {:?}, {:?})",
        with.per_second, without.per_second, with.longest, without.longest
    )
}

fn used(before: Gauges, most: Gauges, left: Gauges) -> String {
    let mega = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "memory {:.0}/{:.0}/{:.0} MB, descriptors {}/{}/{}, database {:.1}/{:.1} MB, \
         WAL {:.1} MB, log {:.3} MB",
        mega(before.memory),
        mega(most.memory),
        mega(left.memory),
        before.descriptors,
        most.descriptors,
        left.descriptors,
        mega(before.database),
        mega(most.database),
        mega(most.database_log),
        mega(most.log - before.log),
    )
}
