//! Starts, signals and stops a node's process.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::{Client, Node, Running, Software, ampd, core_lightning, eclair, lnd};
use crate::ports::free_port;
use crate::process::{self, Finished, Process};
use crate::wait::{Hopeless, wait_for};

/// Allows for many channels on a loaded machine: the node loads its state and syncs the chain.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Number of attempts when another process took the chosen port.
const PORT_ATTEMPTS: usize = 5;

impl Node {
    /// Starts the node and waits until it responds.
    ///
    /// # Errors
    /// If it exits or does not respond in time; the error includes its last log lines.
    pub async fn start(&mut self) -> Result<()> {
        if self.running.is_some() {
            bail!("{} is already running", self.name);
        }
        for _ in 1..PORT_ATTEMPTS {
            match self.start_once().await {
                // A node known to others must keep its port, which may take a while to become free.
                Err(error) if port_is_taken(&error) && self.key.is_empty() => {
                    self.port = free_port()?;
                }
                Err(error) if port_is_taken(&error) => {}
                other => return other,
            }
        }
        self.start_once().await
    }

    async fn start_once(&mut self) -> Result<()> {
        match self.software {
            Software::Ampd => ampd::clear(self)?,
            Software::Lnd => lnd::choose_rpc_port(self)?,
            Software::CoreLightning => {}
            Software::Eclair => eclair::choose_api_port(self)?,
        }
        self.write_config()?;
        let start = Instant::now();
        let mut process = match &self.log_into {
            None => Process::start(&self.name, self.command(), &self.log())?,
            Some(file) => {
                Process::start_into(&self.name, self.command(), &self.log(), file.try_clone()?)?
            }
        };
        let what = format!("{} to respond", self.name);
        let ready = wait_for(&what, self.start_limit(), async || {
            if let Some(status) = process.ended()? {
                return Err(Hopeless(format!("it exited: {status}")).into());
            }
            self.ask_for_readiness().await
        });
        let (client, key) = match ready.await {
            Ok(ready) => ready,
            Err(error) => bail!("{error:#}\n{}", process.log_tail()),
        };
        let started_in = start.elapsed();
        if !self.key.is_empty() && self.key != key {
            bail!(
                "{}'s public key changed: it is {key} instead of {}",
                self.name,
                self.key
            );
        }
        self.key = key;
        self.running = Some(Running {
            process,
            client,
            started_in,
        });
        Ok(())
    }

    /// The JVM starts slowly on a busy machine.
    fn start_limit(&self) -> Duration {
        match self.software {
            Software::Eclair => 3 * START_LIMIT,
            _ => START_LIMIT,
        }
    }

    async fn ask_for_readiness(&self) -> Result<(Client, String)> {
        let grpc = |(address, api)| Client::Grpc {
            address,
            api: Box::new(api),
        };
        let client = match self.software {
            Software::Ampd => grpc(ampd::client(self)?),
            Software::Lnd => grpc(lnd::client(self)?),
            Software::CoreLightning => Client::Peer(core_lightning::client(self)),
            Software::Eclair => Client::Peer(eclair::client(self)?),
        };
        let info = client.info().await?;
        if !info.synced_to_chain {
            bail!(
                "it is at height {} and not synced to the chain",
                info.height
            );
        }
        Ok((client, info.key))
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.running
            .take()
            .map_or(Ok(()), |mut running| running.process.kill())
    }

    /// Sends SIGSTOP: connections stay open, but nothing is processed.
    pub fn freeze(&self) -> Result<()> {
        self.running()?.process.freeze()
    }

    /// Sends SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.running()?.process.thaw()
    }

    /// Sends SIGTERM and returns the exit status.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let mut running = self.running.take().context("the node is not running")?;
        running.process.terminate(STOP_LIMIT).await
    }

    /// Waits until it exits on its own, for example after StopDaemon.
    pub async fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let mut running = self.running.take().context("the node is not running")?;
        running.process.wait(STOP_LIMIT).await
    }

    /// Waits until it has aborted at the crash point chosen with [`Node::abort_at`].
    ///
    /// # Errors
    /// If it exited in another way, or is still running.
    pub async fn wait_for_abort(&mut self) -> Result<()> {
        let status = self.wait_for_end().await?;
        ensure!(
            status.signal() == Some(Signal::ABORT.as_raw()),
            "{} was to abort at {:?} but exited with {status}",
            self.name,
            self.abort_at,
        );
        Ok(())
    }

    /// Runs ampd in this directory until it exits, for starts that must fail.
    ///
    /// # Errors
    /// If it keeps running.
    pub async fn run_to_end(&mut self) -> Result<Finished> {
        self.write_config()?;
        let mut command = self.command();
        // A wrong config must produce a single line even if backtraces of panics are enabled.
        command.env("RUST_BACKTRACE", "1");
        process::run(&self.name, command, STOP_LIMIT).await
    }
}

fn port_is_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}")
        .to_lowercase()
        .contains("address already in use")
}
