//! One node, ampd or another program: its data directory, its config file, its process, its client.

mod ampd;
mod asked;
mod core_lightning;
mod eclair;
mod lnd;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crash_points::Point;
use crash_points::panics::Place;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::api::Api;
use crate::binaries::{Binaries, LndBinaries};
use crate::bitcoind::Bitcoind;
use crate::peer::{Info, PeerApi};
use crate::ports::free_port;
use crate::process::{self, Finished, Process};
use crate::wait::{Hopeless, wait_for};

/// A node with many channels on a loaded machine, which has to read its state and catch up.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How often to start with another port when somebody else took the chosen one.
const PORT_ATTEMPTS: usize = 5;

/// Which program a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    Ampd,
    Lnd,
    CoreLightning,
    Eclair,
}

/// A node on regtest. Dropping it kills it; its directory belongs to the caller.
#[derive(Debug)]
pub struct Node {
    name: String,
    software: Software,
    dir: PathBuf,
    exe: PathBuf,
    /// Key and value, as the config file has them.
    config: BTreeMap<String, String>,
    port: u16,
    /// From the next start on: where it is to abort.
    abort_at: Option<String>,
    /// From the next start on: where it is to panic.
    panic_at: Option<Place>,
    /// From the next start on: where its log goes, if not into its file.
    log_into: Option<File>,
    running: Option<Running>,
    key: String,
}

#[derive(Debug)]
struct Running {
    process: Process,
    client: Client,
}

/// How a node is asked.
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
    /// Prepares an ampd in `dir` that uses `bitcoind`; it does not run yet.
    pub fn new(name: &str, dir: &Path, binaries: &Binaries, bitcoind: &Bitcoind) -> Result<Self> {
        let mut node = Self::without_bitcoind(name, dir, binaries)?;
        node.use_bitcoind(bitcoind)?;
        Ok(node)
    }

    /// Prepares an ampd that does not know where its bitcoind is.
    pub fn without_bitcoind(name: &str, dir: &Path, binaries: &Binaries) -> Result<Self> {
        let mut node = Self::bare(name, dir, Software::Ampd, &binaries.ampd)?;
        ampd::configure(&mut node);
        Ok(node)
    }

    /// Prepares an lnd in `dir` that uses `bitcoind`; it does not run yet.
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

    /// Prepares Core Lightning's `lightningd` in `dir`, which uses `bitcoind`; it does not run yet.
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

    /// Prepares an Eclair in `dir`, which uses a wallet of its own in `bitcoind`; it does not run yet.
    ///
    /// # Errors
    /// If bitcoind does not tell of blocks, or cannot make the wallet.
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

    /// Sets the keys by which it finds this bitcoind.
    ///
    /// # Errors
    /// If this bitcoind lacks what the program needs beside its RPC.
    pub fn use_bitcoind(&mut self, bitcoind: &Bitcoind) -> Result<()> {
        match self.software {
            Software::Ampd => ampd::use_bitcoind(self, bitcoind),
            Software::Lnd => lnd::use_bitcoind(self, bitcoind),
            Software::CoreLightning => core_lightning::use_bitcoind(self, bitcoind)?,
            Software::Eclair => eclair::use_bitcoind(self, bitcoind)?,
        }
        Ok(())
    }

    /// Sets a key of the config file to a text, from the next start on.
    pub fn set(&mut self, key: &str, text: &str) {
        let value = match self.software {
            Software::Ampd => ampd::text(text),
            Software::Lnd | Software::CoreLightning | Software::Eclair => text.to_owned(),
        };
        self.set_raw(key, &value);
    }

    /// Sets a key of the config file to a number, a switch or a list, written as the file has it.
    pub fn set_raw(&mut self, key: &str, value: &str) {
        self.config.insert(key.to_owned(), value.to_owned());
    }

    /// Leaves a key out of the config file, from the next start on: the program's default holds.
    pub fn unset(&mut self, key: &str) {
        self.config.remove(key);
    }

    /// From the next start on: abort when this point is passed for the `nth` time (counted from 1).
    pub fn abort_at(&mut self, point: Point, nth: u32) {
        self.abort_at = Some(format!("{point}:{nth}"));
    }

    /// From the next start on: abort nowhere.
    pub fn abort_nowhere(&mut self) {
        self.abort_at = None;
    }

    /// From the next start on: panic here, or nowhere.
    pub fn panic_at(&mut self, place: Option<Place>) {
        self.panic_at = place;
    }

    /// From the next start on: what it writes to stdout and stderr goes there.
    pub fn log_into(&mut self, file: File) {
        self.log_into = Some(file);
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// If it ends or does not answer in time; the text holds its last log lines.
    pub async fn start(&mut self) -> Result<()> {
        if self.running.is_some() {
            bail!("{} runs already", self.name);
        }
        for _ in 1..PORT_ATTEMPTS {
            match self.start_once().await {
                // A node that others know must keep its port: then the port is only free late.
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
        let what = format!("{} to answer", self.name);
        let ready = wait_for(&what, self.start_limit(), async || {
            if let Some(status) = process.ended()? {
                return Err(Hopeless(format!("it ended: {status}")).into());
            }
            self.ask_for_readiness().await
        });
        let (client, key) = match ready.await {
            Ok(ready) => ready,
            Err(error) => bail!("{error:#}\n{}", process.log_tail()),
        };
        if !self.key.is_empty() && self.key != key {
            bail!(
                "{} came back as another node: {key} instead of {}",
                self.name,
                self.key
            );
        }
        self.key = key;
        self.running = Some(Running { process, client });
        Ok(())
    }

    /// A Java machine takes its time on a busy one.
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

    /// How it is started on this directory; [`Node::write_config`] belongs before it.
    pub fn command(&self) -> Command {
        match self.software {
            Software::Ampd => ampd::command(self),
            Software::Lnd => lnd::command(self),
            Software::CoreLightning => core_lightning::command(self),
            Software::Eclair => eclair::command(self),
        }
    }

    /// Writes the config file as it is set now.
    pub fn write_config(&self) -> Result<()> {
        let text = match self.software {
            Software::Ampd => ampd::config_text(self),
            Software::Lnd => lnd::config_text(self),
            Software::CoreLightning => core_lightning::config_text(self),
            Software::Eclair => eclair::config_text(self),
        };
        Ok(fs::write(self.config_file(), text)?)
    }

    /// lncli with all that it needs to reach this lnd.
    ///
    /// # Errors
    /// If the node does not run, or is no lnd.
    pub fn lncli(&self, binaries: &LndBinaries) -> Result<Command> {
        ensure!(self.software == Software::Lnd, "{} is no lnd", self.name);
        lnd::lncli(self, &binaries.lncli)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.running
            .take()
            .map_or(Ok(()), |mut running| running.process.kill())
    }

    /// Stops it in its tracks (SIGSTOP): its connections stay, and nobody answers on them.
    pub fn freeze(&self) -> Result<()> {
        self.running()?.process.freeze()
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) -> Result<()> {
        self.running()?.process.thaw()
    }

    /// SIGTERM; returns how it ended.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let mut running = self.running.take().context("it does not run")?;
        running.process.terminate(STOP_LIMIT).await
    }

    /// Waits until it ends by itself, for example after StopDaemon.
    pub async fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let mut running = self.running.take().context("it does not run")?;
        running.process.wait(STOP_LIMIT).await
    }

    /// Waits until it has died at the point that [`Node::abort_at`] chose.
    ///
    /// # Errors
    /// If it ended in another way, or goes on to run.
    pub async fn wait_for_abort(&mut self) -> Result<()> {
        let status = self.wait_for_end().await?;
        ensure!(
            status.signal() == Some(Signal::ABORT.as_raw()),
            "{} was to abort at {:?} and ended with {status}",
            self.name,
            self.abort_at,
        );
        Ok(())
    }

    /// Runs ampd on this directory until it ends by itself: a start that must fail.
    ///
    /// # Errors
    /// If it goes on to run.
    pub async fn run_to_end(&mut self) -> Result<Finished> {
        self.write_config()?;
        let mut command = self.command();
        // Whoever asks for backtraces of panics still gets one line for a wrong config.
        command.env("RUST_BACKTRACE", "1");
        process::run(&self.name, command, STOP_LIMIT).await
    }

    /// The client of an ampd or an lnd.
    ///
    /// # Errors
    /// If the node does not run, or is another program.
    pub fn api(&self) -> Result<Api> {
        match &self.running()?.client {
            Client::Grpc { api, .. } => Ok(Api::clone(api)),
            Client::Peer(_) => bail!("{} is neither ampd nor lnd", self.name),
        }
    }

    /// The client of a Core Lightning or an Eclair.
    ///
    /// # Errors
    /// If the node does not run, or is another program.
    pub fn peer_api(&self) -> Result<PeerApi> {
        match &self.running()?.client {
            Client::Peer(peer) => Ok(peer.clone()),
            Client::Grpc { .. } => bail!("{} is ampd or lnd", self.name),
        }
    }

    /// `host:port` of the RPC of an ampd or an lnd, which changes with each start.
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

    /// Where its donation page is, IP:port.
    ///
    /// # Errors
    /// If it has none.
    pub fn donation_address(&self) -> Result<String> {
        let text = fs::read_to_string(self.network_dir().join("donations.address"));
        let text = text.with_context(|| format!("{} has no donation page", self.name))?;
        Ok(text.trim().to_owned())
    }

    /// ampd's TLS certificate, PEM.
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
            .with_context(|| format!("{} does not run", self.name))
    }

    /// The id of its process.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.running()?.process.id())
    }

    /// Whether it was started and not stopped or killed by us.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Which program it is.
    pub fn software(&self) -> Software {
        self.software
    }

    /// Whether it is neither ampd nor lnd.
    pub fn is_peer(&self) -> bool {
        matches!(self.software, Software::CoreLightning | Software::Eclair)
    }

    /// Its name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public key in hex; empty before its first start.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// `host:port` for peers, the same at each start.
    pub fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of its files on its network.
    pub fn network_dir(&self) -> PathBuf {
        match self.software {
            Software::Ampd => ampd::network_dir(self),
            Software::Lnd => lnd::network_dir(self),
            Software::CoreLightning => core_lightning::network_dir(self),
            Software::Eclair => eclair::network_dir(self),
        }
    }

    /// Its config file.
    pub fn config_file(&self) -> PathBuf {
        match self.software {
            Software::Ampd => ampd::config_file(self),
            Software::Lnd => lnd::config_file(self),
            Software::CoreLightning => core_lightning::config_file(self),
            Software::Eclair => eclair::config_file(self),
        }
    }

    /// What it wrote to stdout and stderr in all its runs.
    pub fn log(&self) -> PathBuf {
        match self.software {
            Software::Ampd => self.dir.join("ampd.log"),
            Software::Lnd => self.dir.join("lnd.log"),
            Software::CoreLightning => self.dir.join("lightningd.log"),
            Software::Eclair => self.dir.join("eclair-node.log"),
        }
    }

    /// Its last log lines, for a failure text.
    pub fn log_tail(&self) -> String {
        process::log_tail(&self.log())
    }
}

fn port_is_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}")
        .to_lowercase()
        .contains("address already in use")
}
