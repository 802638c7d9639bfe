//! A network to experiment with until Ctrl-C.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::binaries::Binaries;
use crate::network::{ChannelPlan, Network};
use crate::node::Node;

const NAMES: [&str; 8] = [
    "alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi",
];
const CAPACITY_SAT: u64 = 5_000_000;
/// Short enough to see a channel or a payment confirm, long enough not to disturb.
const BLOCK_INTERVAL: Duration = Duration::from_secs(30);

/// Runs `count` nodes in a line of channels that can be paid over in both directions.
pub async fn run(binaries: Binaries, count: usize) -> Result<()> {
    let most = NAMES.len();
    ensure!(
        (1..=most).contains(&count),
        "--nodes must be between 1 and {most}, not {count}"
    );
    let names = &NAMES[..count];
    println!("Starting bitcoind (regtest) and {count} nodes ...");
    let mut network = Network::start(binaries).await?;
    let nodes = names.iter().map(|name| prepare(&network, name));
    network.add(nodes.collect::<Result<_>>()?).await?;
    let plans: Vec<ChannelPlan<'_>> = names
        .windows(2)
        .map(|pair| ChannelPlan::new(pair[0], pair[1], CAPACITY_SAT).push(CAPACITY_SAT / 2))
        .collect();
    network.open(&plans).await?;
    print_help(&network)?;
    mine_until_told_to_stop(&network).await?;
    network.finish();
    Ok(())
}

/// A node that accepts all kinds of payments and serves a donation page.
fn prepare(network: &Network, name: &str) -> Result<Node> {
    let mut node = network.prepare(name)?;
    node.set_raw("accept-amp", "true");
    node.set_raw("accept-keysend", "true");
    node.set("donations-listen", "127.0.0.1:0");
    node.set("donations-title", &format!("Donations to {name}"));
    node.set_raw("donations-show-messages", "true");
    Ok(node)
}

fn print_help(network: &Network) -> Result<()> {
    for node in network.nodes() {
        println!("\n{} {}", node.name(), node.key());
        println!("  peer address      {}@{}", node.key(), node.peer_address());
        println!("  donation page     http://{}/", node.donation_address()?);
        println!("  log               {}", node.log().display());
        println!("  {} getinfo", command_line(network, node.name())?);
    }
    println!(
        "\nEach node has a channel with the next one and accepts AMP. For example:\n  {} \
        sendpayment --dest=<key of another node> --amt=1000 --amp",
        command_line(network, "alice")?
    );
    println!(
        "\nA block is mined every {} s and when you press Enter. Ctrl-C stops everything.",
        BLOCK_INTERVAL.as_secs()
    );
    Ok(())
}

/// ampcli with the flags needed to reach this node.
fn command_line(network: &Network, name: &str) -> Result<String> {
    let node = &network[name];
    Ok(format!(
        "{} --network=regtest --rpcserver={} --datadir={}",
        network.binaries().ampcli.display(),
        node.rpc_address()?,
        node.dir().display(),
    ))
}

async fn mine_until_told_to_stop(network: &Network) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ticks = interval(BLOCK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut keys = enter_keys();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            _ = ticks.tick() => {}
            Some(()) = keys.recv() => {}
        }
        network
            .mine(1)
            .await
            .context("a node or bitcoind has stopped")?;
        println!("mined block {}", network.bitcoind.height().await?);
    }
    println!("\nStopping.");
    Ok(())
}

/// Sends a message for each line typed in the terminal; none without a terminal.
fn enter_keys() -> mpsc::UnboundedReceiver<()> {
    let (sender, receiver) = mpsc::unbounded_channel();
    // On its own thread, because a blocking read from the terminal cannot be cancelled.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || sender.send(()).is_err() {
                break;
            }
        }
    });
    receiver
}
