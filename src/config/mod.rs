//! ampd's configuration: what the user said, in layers, then checked settings.
//!
//! `keys` lists every key with its default and documentation. What flags (`flags`), environment
//! (`layers`) and file (`file`) say is laid over the defaults; `settings` turns that into a
//! [`Config`], in which wrong values cannot exist.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::Network;
use lightning::ln::msgs::SocketAddress;
use lnd_api::layout::{HostPort, network_name};

mod donations;
mod error;
#[cfg(test)]
mod example;
mod file;
mod flags;
mod keys;
mod layers;
mod network;
mod settings;
mod values;

pub use donations::{Donations, Validity};
pub use error::ConfigError;
pub use layers::Source;
pub use values::{Alias, BitcoindAuth, Color, LogFormat, Secret};

use layers::{Layer, Layers};

/// Name of the config file in the data directory.
const FILE_NAME: &str = "ampd.toml";

/// The settings of a node, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub network: Network,
    /// ampd's folder; the node's own files are in [`Config::network_dir`].
    pub data_dir: PathBuf,
    /// None: the first 20 hex digits of the public key.
    pub alias: Option<Alias>,
    pub color: Color,
    /// Where peers connect to us.
    pub listen: Vec<SocketAddr>,
    /// What node_announcement says about reaching us.
    pub external_addresses: Vec<SocketAddress>,
    pub callers: Callers,
    pub bitcoind: Bitcoind,
    pub amp: Amp,
    /// Accept payments to the public key that bring their preimage, and say so to everybody.
    pub accept_keysend: bool,
    pub forwarding: Forwarding,
    /// The smallest channel that others may open to us.
    pub min_channel_size_sat: u64,
    /// Refuse channels whose forced close the wallet could not pay for.
    pub require_anchor_reserve: bool,
    /// What may be at risk in HTLCs of a channel that are too small for the chain.
    pub max_dust_exposure_sat: u64,
    pub log: Log,
    /// Where the page of metrics is; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The donation page; `None`: there is none.
    pub donations: Option<Donations>,
}

/// Where callers are served, and what the node is to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callers {
    pub rpc_listen: SocketAddr,
    /// `None`: no REST interface.
    pub rest_listen: Option<SocketAddr>,
    /// Web sites whose pages may call REST.
    pub rest_cors: Vec<String>,
    /// What the TLS certificate names beside this machine.
    pub tls_extra_ips: Vec<IpAddr>,
    pub tls_extra_domains: Vec<String>,
}

/// How to reach bitcoind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitcoind {
    pub rpc_address: HostPort,
    pub auth: BitcoindAuth,
    /// Time between two questions for new blocks.
    pub poll_interval: Duration,
}

/// Receiving AMP, and the bounds on what strangers can make us hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amp {
    /// Accept payments to the public key; AMP invoices work in any case.
    pub accept: bool,
    pub max_htlcs_per_set: u16,
    pub max_open_sets: u32,
    pub max_held_htlcs_per_channel: u16,
}

/// Our terms for forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    pub base_fee_msat: u32,
    pub fee_rate_ppm: u32,
    /// Blocks; never below LDK's 48.
    pub cltv_delta: u16,
    /// Leave LDK's random delay in place instead of forwarding at once.
    pub delay: bool,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// In the syntax of tracing's `EnvFilter`, checked.
    pub filter: String,
    pub format: LogFormat,
}

impl Config {
    /// Reads command line, environment and config file.
    ///
    /// `args` begin with the program's name. `env` gives the value of an environment variable:
    /// `|name| std::env::var_os(name)`.
    ///
    /// # Errors
    /// If something is unknown, wrong or unreadable; also for `--help` and `--version`. A main
    /// calls [`ConfigError::print`] and exits with [`ConfigError::exit_code`].
    pub fn load(
        args: impl Iterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, ConfigError> {
        let flags = flags::parse(args)?;
        let named = flags
            .config
            .or_else(|| env("AMPD_CONFIG").map(PathBuf::from));
        let said = Layers::default()
            .over(flags.layer)
            .over(layers::environment(&env)?);
        let file = file_layer(named, &said, &env)?;
        settings::check(&said.over(file).over(layers::defaults()), &env)
    }

    /// The folder of this node's files: `<data-dir>/<network>`.
    #[must_use]
    pub fn network_dir(&self) -> PathBuf {
        self.data_dir.join(network_name(self.network))
    }
}

/// The layer of the config file: the named one, or that in the data directory if it exists.
fn file_layer(
    named: Option<PathBuf>,
    said: &Layers,
    env: &settings::Env<'_>,
) -> Result<Layer, ConfigError> {
    if let Some(path) = named {
        let path = path
            .to_str()
            .map_or(Ok(path.clone()), |text| settings::expand(text, env))?;
        return file::read(&path);
    }
    match default_file(said, env)? {
        path if exists(&path) => file::read(&path),
        _ => Ok(Layer::new()),
    }
}

fn default_file(said: &Layers, env: &settings::Env<'_>) -> Result<PathBuf, ConfigError> {
    let said = said.clone().over(layers::defaults());
    Ok(settings::path(&said, "data-dir", env)?.join(FILE_NAME))
}

/// A file that is there but cannot be looked at counts as there, so that reading it says why.
fn exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

#[cfg(test)]
mod tests;
