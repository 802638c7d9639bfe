//! A node, ampd or another program: its data directory, config file, process and client.

mod ampd;
mod core_lightning;
mod eclair;
mod lnd;
mod requests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use crash_points::Point;
use crash_points::panics::Place;
use rustix::process::Signal;

use crate::api::Api;
use crate::binaries::{Binaries, LndBinaries};
use crate::bitcoind::Bitcoind;
use crate::peer::{Info, PeerApi};
use crate::ports::free_port;
use crate::process::{self, Finished, Process};
use crate::wait::{Hopeless, wait_for};

/// Allows for many channels on a loaded machine: the node loads its state and syncs the chain.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Number of attempts when another process took the chosen port.
const PORT_ATTEMPTS: usize = 5;

/// The program that a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    Ampd,
    Lnd,
    CoreLightning,
    Eclair,
}

/// A node on regtest, killed when dropped; its directory belongs to the caller.
#[derive(Debug)]
pub struct Node {
    name: String,
    software: Software,
    dir: PathBuf,
    exe: PathBuf,
    /// Keys and values as written to the config file.
    config: BTreeMap<String, String>,
    port: u16,
    /// Crash point to abort at, from the next start on.
    abort_at: Option<String>,
    /// Task to panic in, from the next start on.
    panic_at: Option<Place>,
    /// Where to log instead of the log file, from the next start on.
    log_into: Option<File>,
    running: Option<Running>,
    key: String,
}

#[derive(Debug)]
struct Running {
    process: Process,
    client: Client,
}

/// The client of a running node.
#[derive(Clone, Debug)]
enum Client {
    /// ampd and lnd, at this `host:port`.
    Grpc {
        address: String,
        api: Box<Api>,
    },
    Peer(PeerApi),
}

impl Client {
    async fn info(&self) -> Result<Info> {
        match self {
            Self::Grpc { api, .. } => {
                let info = api.info().await?;
                Ok(Info {
                    key: info.identity_pubkey,
                    height: info.block_height,
                    synced_to_chain: info.synced_to_chain,
                })
            }
            Self::Peer(peer) => peer.info().await,
        }
    }
}

impl Node {
    /// Prepares an ampd in `dir` that uses `bitcoind`, without starting it.
    pub fn new(name: &str, dir: &Path, binaries: &Binaries, bitcoind: &Bitcoind) -> Result<Self> {
        let mut node = Self::without_bitcoind(name, dir, binaries)?;
        node.use_bitcoind(bitcoind)?;
        Ok(node)
    }

    /// Prepares an ampd that is not configured for a bitcoind.
    pub fn without_bitcoind(name: &str, dir: &Path, binaries: &Binaries) -> Result<Self> {
        let mut node = Self::bare(name, dir, Software::Ampd, &binaries.ampd)?;
        ampd::configure(&mut node);
        Ok(node)
    }

    /// Prepares an lnd in `dir` that uses `bitcoind`, without starting it.
    pub fn lnd(
        name: &str,
        dir: &Path,
        binaries: &LndBinaries,
        bitcoind: &Bitcoind,
    ) -> Result<Self> {
        let mut node = Self::bare(name, dir, Software::Lnd, &binaries.lnd)?;
        lnd::configure(&mut node)?;
        node.use_bitcoind(bitcoind)?;
        Ok(node)
    }

    /// Prepares Core Lightning's `lightningd` in `dir` that uses `bitcoind`, without starting it.
    pub fn core_lightning(
        name: &str,
        dir: &Path,
        lightningd: &Path,
        bitcoind: &Bitcoind,
    ) -> Result<Self> {
        let mut node = Self::bare(name, dir, Software::CoreLightning, lightningd)?;
        core_lightning::configure(&mut node);
        node.use_bitcoind(bitcoind)?;
        Ok(node)
    }

    /// Prepares an Eclair in `dir` with its own wallet in `bitcoind`, without starting it.
    ///
    /// # Errors
    /// If bitcoind was started without ZeroMQ, or cannot create the wallet.
    pub async fn eclair(name: &str, dir: &Path, exe: &Path, bitcoind: &Bitcoind) -> Result<Self> {
        let mut node = Self::bare(name, dir, Software::Eclair, exe)?;
        eclair::configure(&mut node);
        node.use_bitcoind(bitcoind)?;
        bitcoind.add_wallet(&eclair::wallet(name)).await?;
        Ok(node)
    }

    fn bare(name: &str, dir: &Path, software: Software, exe: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self {
            name: name.to_owned(),
            software,
            dir: dir.to_owned(),
            exe: exe.to_owned(),
            config: BTreeMap::new(),
            port: free_port()?,
            abort_at: None,
            panic_at: None,
            log_into: None,
            running: None,
            key: String::new(),
        })
    }

    /// Sets the config keys for this bitcoind.
    ///
    /// # Errors
    /// If this bitcoind lacks something that the program requires.
    pub fn use_bitcoind(&mut self, bitcoind: &Bitcoind) -> Result<()> {
        match self.software {
            Software::Ampd => ampd::use_bitcoind(self, bitcoind),
            Software::Lnd => lnd::use_bitcoind(self, bitcoind),
            Software::CoreLightning => core_lightning::use_bitcoind(self, bitcoind)?,
            Software::Eclair => eclair::use_bitcoind(self, bitcoind)?,
        }
        Ok(())
    }

    /// Sets a config key to a string, from the next start on.
    pub fn set(&mut self, key: &str, text: &str) {
        let value = match self.software {
            Software::Ampd => ampd::text(text),
            Software::Lnd | Software::CoreLightning | Software::Eclair => text.to_owned(),
        };
        self.set_raw(key, &value);
    }

    /// Sets a config key to a number, boolean or list as written in the file, from the next start on.
    pub fn set_raw(&mut self, key: &str, value: &str) {
        self.config.insert(key.to_owned(), value.to_owned());
    }

    /// Removes a config key from the next start on, so that the program's default applies.
    pub fn unset(&mut self, key: &str) {
        self.config.remove(key);
    }

    /// Aborts at the `nth` pass (counted from 1) of this crash point, from the next start on.
    pub fn abort_at(&mut self, point: Point, nth: u32) {
        self.abort_at = Some(format!("{point}:{nth}"));
    }

    /// Removes the crash point, from the next start on.
    pub fn abort_nowhere(&mut self) {
        self.abort_at = None;
    }

    /// Panics here, or nowhere, from the next start on.
    pub fn panic_at(&mut self, place: Option<Place>) {
        self.panic_at = place;
    }

    /// Writes stdout and stderr to this file, from the next start on.
    pub fn log_into(&mut self, file: File) {
        self.log_into = Some(file);
    }

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
        if !self.key.is_empty() && self.key != key {
            bail!(
                "{}'s public key changed: it is {key} instead of {}",
                self.name,
                self.key
            );
        }
        self.key = key;
        self.running = Some(Running { process, client });
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

    /// The command that starts it in this directory; call [`Node::write_config`] first.
    pub fn command(&self) -> Command {
        match self.software {
            Software::Ampd => ampd::command(self),
            Software::Lnd => lnd::command(self),
            Software::CoreLightning => core_lightning::command(self),
            Software::Eclair => eclair::command(self),
        }
    }

    /// Writes the config file with the current settings.
    pub fn write_config(&self) -> Result<()> {
        let text = match self.software {
            Software::Ampd => ampd::config_text(self),
            Software::Lnd => lnd::config_text(self),
            Software::CoreLightning => core_lightning::config_text(self),
            Software::Eclair => eclair::config_text(self),
        };
        Ok(fs::write(self.config_file(), text)?)
    }

    /// lncli with the arguments required to reach this lnd.
    ///
    /// # Errors
    /// If the node is not running, or is not lnd.
    pub fn lncli(&self, binaries: &LndBinaries) -> Result<Command> {
        ensure!(self.software == Software::Lnd, "{} is not lnd", self.name);
        lnd::lncli(self, &binaries.lncli)
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

    /// The client of an ampd or lnd.
    ///
    /// # Errors
    /// If the node is not running, or is another program.
    pub fn api(&self) -> Result<Api> {
        match &self.running()?.client {
            Client::Grpc { api, .. } => Ok(Api::clone(api)),
            Client::Peer(_) => bail!("{} is neither ampd nor lnd", self.name),
        }
    }

    /// The client of a Core Lightning or Eclair node.
    ///
    /// # Errors
    /// If the node is not running, or is another program.
    pub fn peer_api(&self) -> Result<PeerApi> {
        match &self.running()?.client {
            Client::Peer(peer) => Ok(peer.clone()),
            Client::Grpc { .. } => bail!("{} is ampd or lnd", self.name),
        }
    }

    /// `host:port` of the RPC of an ampd or lnd, which changes with each start.
    pub fn rpc_address(&self) -> Result<&str> {
        match &self.running()?.client {
            Client::Grpc { address, .. } => Ok(address),
            Client::Peer(_) => bail!("{} is neither ampd nor lnd", self.name),
        }
    }

    /// `host:port` of ampd's REST interface, which changes with each start.
    pub fn rest_address(&self) -> Result<String> {
        self.running()?;
        ampd::rest_address(self)
    }

    /// Address of its donation page as IP:port.
    ///
    /// # Errors
    /// If it has no donation page.
    pub fn donation_address(&self) -> Result<String> {
        let text = fs::read_to_string(self.network_dir().join("donations.address"));
        let text = text.with_context(|| format!("{} has no donation page", self.name))?;
        Ok(text.trim().to_owned())
    }

    /// ampd's TLS certificate in PEM.
    pub fn certificate(&self) -> Result<String> {
        ampd::certificate(self)
    }

    /// One of ampd's macaroon files.
    pub fn macaroon(&self, file: &str) -> Result<Vec<u8>> {
        ampd::macaroon(self, file)
    }

    fn running(&self) -> Result<&Running> {
        self.running
            .as_ref()
            .with_context(|| format!("{} is not running", self.name))
    }

    /// The process id.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.running()?.process.id())
    }

    /// Whether it was started and not stopped or killed by the test.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The program of this node.
    pub fn software(&self) -> Software {
        self.software
    }

    /// Whether it is neither ampd nor lnd.
    pub fn is_peer(&self) -> bool {
        matches!(self.software, Software::CoreLightning | Software::Eclair)
    }

    /// Its display name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public key in hex; empty before its first start.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// `host:port` for peers, the same for every start.
    pub fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of its files for its network.
    pub fn network_dir(&self) -> PathBuf {
        match self.software {
            Software::Ampd => ampd::network_dir(self),
            Software::Lnd => lnd::network_dir(self),
            Software::CoreLightning => core_lightning::network_dir(self),
            Software::Eclair => eclair::network_dir(self),
        }
    }

    /// Path of its config file.
    pub fn config_file(&self) -> PathBuf {
        match self.software {
            Software::Ampd => ampd::config_file(self),
            Software::Lnd => lnd::config_file(self),
            Software::CoreLightning => core_lightning::config_file(self),
            Software::Eclair => eclair::config_file(self),
        }
    }

    /// The log with stdout and stderr of all runs.
    pub fn log(&self) -> PathBuf {
        match self.software {
            Software::Ampd => self.dir.join("ampd.log"),
            Software::Lnd => self.dir.join("lnd.log"),
            Software::CoreLightning => self.dir.join("lightningd.log"),
            Software::Eclair => self.dir.join("eclair-node.log"),
        }
    }

    /// Its last log lines, for error messages.
    pub fn log_tail(&self) -> String {
        process::log_tail(&self.log())
    }
}

fn port_is_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}")
        .to_lowercase()
        .contains("address already in use")
}
