//! A node, ampd or another program: its data directory, config file, process and client.

mod ampd;
mod core_lightning;
mod eclair;
mod lifecycle;
mod lnd;
mod requests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use crash_points::Point;
use crash_points::panics::Place;

use crate::api::Api;
use crate::binaries::{Binaries, LndBinaries};
use crate::bitcoind::Bitcoind;
use crate::peer::{Info, PeerApi};
use crate::ports::free_port;
use crate::process::{self, Process};

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
    /// From the start of the process to its first answer.
    started_in: Duration,
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

    /// The time from the start of the process to its first answer to GetInfo, for which it is polled.
    pub fn started_in(&self) -> Result<Duration> {
        Ok(self.running()?.started_in)
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
