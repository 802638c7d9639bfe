//! What the terminal and the operator do to a node: signals, and a stderr that nobody reads any more.

use std::fs::File;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use regtest::network::Network;
use regtest::node::Node;
use regtest::wait::wait_for;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::binaries;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn signals_that_mean_nothing_to_it_do_not_end_a_node() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let alice = &network["alice"];
    for (signal, line) in [
        (Signal::HUP, "SIGHUP: nothing is read again"),
        (Signal::USR1, "SIGUSR1 means nothing"),
        (Signal::USR2, "SIGUSR2 means nothing"),
    ] {
        kill_process(pid(alice.pid()?)?, signal)?;
        wait_for(line, LIMIT, async || {
            ensure!(std::fs::read_to_string(alice.log())?.contains(line));
            Ok(())
        })
        .await?;
    }
    alice.api()?.info().await?;
    network.finish();
    Ok(())
}

#[tokio::test]
async fn a_node_stops_in_good_order_when_its_terminal_is_closed() -> Result<()> {
    let network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    // Nobody reads the other end: a node that says more would wait for it.
    alice.set("log-level", "warn");
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    // A node that held the other end itself would keep its terminal open.
    fcntl_setfd(&terminal, FdFlags::CLOEXEC)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?.into_string()?;
    let open = || File::options().read(true).write(true).open(&name);
    let mut child = started(&alice, open()?.into(), open()?.into()).await?;
    // The terminal is there: an operator's SIGHUP, which a node survives.
    kill_process(pid(child.id())?, Signal::HUP)?;
    drop(terminal);
    kill_process(pid(child.id())?, Signal::HUP)?;
    let status = ended(&mut child).await?;
    ensure!(status.success(), "it ended with {status}");
    network.finish();
    Ok(())
}

#[tokio::test]
async fn a_node_goes_on_when_nobody_reads_its_log_any_more() -> Result<()> {
    let network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    // Less than a pipe holds.
    alice.set("log-level", "info");
    let mut child = started(&alice, Stdio::null(), Stdio::piped()).await?;
    drop(child.stderr.take());
    // Each leads to a line in the log.
    for signal in [Signal::HUP, Signal::USR1, Signal::TERM] {
        kill_process(pid(child.id())?, signal)?;
    }
    let status = ended(&mut child).await?;
    ensure!(status.success(), "it ended with {status}");
    network.finish();
    Ok(())
}

pub(crate) fn pid(id: u32) -> Result<Pid> {
    Pid::from_raw(i32::try_from(id)?).context("no process has this id")
}

/// A node with this stdin and stderr, as soon as callers can reach it.
pub(crate) async fn started(node: &Node, stdin: Stdio, stderr: Stdio) -> Result<Child> {
    node.write_config()?;
    let mut command = node.command();
    command.stdin(stdin).stdout(Stdio::null()).stderr(stderr);
    let mut child = command.spawn()?;
    // It must not hold the other end of what the child got.
    drop(command);
    let address = node.network_dir().join("rpc.address");
    wait_for("the node to serve", LIMIT, async || {
        ensure!(child.try_wait()?.is_none(), "it ended");
        ensure!(address.exists(), "there is no {}", address.display());
        Ok(())
    })
    .await?;
    Ok(child)
}

pub(crate) async fn ended(child: &mut Child) -> Result<ExitStatus> {
    let ended = wait_for("the node to end", LIMIT, async || {
        child.try_wait()?.context("it runs")
    });
    let status = ended.await;
    if status.is_err() {
        child.kill()?;
    }
    status
}
