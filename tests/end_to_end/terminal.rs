//! Signals, and a terminal or log reader that goes away.

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
async fn unused_signals_are_ignored() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let alice = &network["alice"];
    for (signal, line) in [
        (
            Signal::HUP,
            "ignoring SIGHUP: ampd does not reload its config",
        ),
        (Signal::USR1, "ignoring SIGUSR1"),
        (Signal::USR2, "ignoring SIGUSR2"),
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
async fn closing_the_terminal_shuts_the_node_down_cleanly() -> Result<()> {
    let network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    // Nobody reads the other end: a node that logged more would block on it.
    alice.set("log-level", "warn");
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    // If the node held the other end itself, its terminal would stay open.
    fcntl_setfd(&terminal, FdFlags::CLOEXEC)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?.into_string()?;
    let open = || File::options().read(true).write(true).open(&name);
    let mut child = started(&alice, open()?.into(), open()?.into()).await?;
    // The terminal still exists: SIGHUP comes from an operator and is ignored.
    kill_process(pid(child.id())?, Signal::HUP)?;
    drop(terminal);
    kill_process(pid(child.id())?, Signal::HUP)?;
    let status = ended(&mut child).await?;
    ensure!(status.success(), "exited with {status}");
    network.finish();
    Ok(())
}

#[tokio::test]
async fn node_keeps_running_when_its_log_reader_is_gone() -> Result<()> {
    let network = Network::start(binaries()).await?;
    let mut alice = network.prepare("alice")?;
    // Less than a pipe holds.
    alice.set("log-level", "info");
    let mut child = started(&alice, Stdio::null(), Stdio::piped()).await?;
    drop(child.stderr.take());
    // Each one writes a log line.
    for signal in [Signal::HUP, Signal::USR1, Signal::TERM] {
        kill_process(pid(child.id())?, signal)?;
    }
    let status = ended(&mut child).await?;
    ensure!(status.success(), "exited with {status}");
    network.finish();
    Ok(())
}

pub(crate) fn pid(id: u32) -> Result<Pid> {
    Pid::from_raw(i32::try_from(id)?).context("not a valid process id")
}

/// Starts a node with this stdin and stderr, and waits until its API is ready.
pub(crate) async fn started(node: &Node, stdin: Stdio, stderr: Stdio) -> Result<Child> {
    node.write_config()?;
    let mut command = node.command();
    command.stdin(stdin).stdout(Stdio::null()).stderr(stderr);
    let mut child = command.spawn()?;
    // This process must not hold the other ends of the child's pipes.
    drop(command);
    let address = node.network_dir().join("rpc.address");
    wait_for("the API to be ready", LIMIT, async || {
        ensure!(child.try_wait()?.is_none(), "the node has exited");
        ensure!(address.exists(), "{} does not exist", address.display());
        Ok(())
    })
    .await?;
    Ok(child)
}

pub(crate) async fn ended(child: &mut Child) -> Result<ExitStatus> {
    let ended = wait_for("the node to exit", LIMIT, async || {
        child.try_wait()?.context("the node is still running")
    });
    let status = ended.await;
    if status.is_err() {
        child.kill()?;
    }
    status
}
