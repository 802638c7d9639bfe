//! ampd's configuration: values merged from several layers and validated into a [`Config`].
//!
//! `keys` lists every key with its default and help text. Flags (`flags`) override the environment
//! (`layers`), which overrides the file (`file`) and the defaults; `settings` validates the result.

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
mod source;
mod values;

pub use donations::{Donations, Validity};
pub use error::ConfigError;
pub use source::Source;
pub use values::{Alias, BitcoindAuth, Color, LogFormat, Secret};

use layers::{Layer, Layers};

/// Name of the config file in the data directory.
const FILE_NAME: &str = "ampd.toml";

/// The validated settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub network: Network,
    /// ampd's data directory; the node's files are in [`Config::network_dir`].
    pub data_dir: PathBuf,
    /// `None`: the first 20 hex digits of the public key.
    pub alias: Option<Alias>,
    pub color: Color,
    /// Addresses to listen on for peers.
    pub listen: Vec<SocketAddr>,
    /// Addresses in our node_announcement (BOLT 7).
    pub external_addresses: Vec<SocketAddress>,
    pub callers: Callers,
    pub bitcoind: Bitcoind,
    pub amp: Amp,
    /// Accept keysend payments and announce support for them.
    pub accept_keysend: bool,
    pub forwarding: Forwarding,
    /// Minimum capacity of channels opened by peers, in satoshis.
    pub min_channel_size_sat: u64,
    /// Refuse anchor channels if the wallet cannot pay the fees of a force close.
    pub require_anchor_reserve: bool,
    /// Maximum total of dust HTLCs per channel, in satoshis.
    pub max_dust_exposure_sat: u64,
    pub log: Log,
    /// Address to serve Prometheus metrics on; `None` disables them.
    pub metrics_listen: Option<SocketAddr>,
    /// The donation page; `None` disables it.
    pub donations: Option<Donations>,
}

/// Listen addresses and TLS names of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callers {
    pub rpc_listen: SocketAddr,
    /// `None` disables REST.
    pub rest_listen: Option<SocketAddr>,
    /// Origins whose pages may call REST (CORS).
    pub rest_cors: Vec<String>,
    /// IP addresses in the TLS certificate in addition to this machine's.
    pub tls_extra_ips: Vec<IpAddr>,
    pub tls_extra_domains: Vec<String>,
}

/// Connection settings for bitcoind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitcoind {
    pub rpc_address: HostPort,
    pub auth: BitcoindAuth,
    /// Interval between polls for new blocks.
    pub poll_interval: Duration,
}

/// Settings for receiving AMP, with limits on the HTLCs that senders can make the node hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amp {
    /// Accept spontaneous payments; AMP invoices can be paid in either case.
    pub accept: bool,
    pub max_htlcs_per_set: u16,
    pub max_open_sets: u32,
    pub max_held_htlcs_per_channel: u16,
}

/// The forwarding policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    pub base_fee_msat: u32,
    pub fee_rate_ppm: u32,
    /// CLTV delta in blocks, at least LDK's minimum of 48.
    pub cltv_delta: u16,
    /// Keep LDK's random delay instead of forwarding immediately.
    pub delay: bool,
}

/// Log settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A valid filter in the syntax of tracing's `EnvFilter`.
    pub filter: String,
    pub format: LogFormat,
}

impl Config {
    /// Reads command line, environment and config file.
    ///
    /// `args` starts with the program's name. `env` returns the value of an environment variable:
    /// `|name| std::env::var_os(name)`.
    ///
    /// # Errors
    /// If a key is unknown, a value invalid or the file unreadable; also for `--help` and `--version`.
    /// `main` calls [`ConfigError::print`] and exits with [`ConfigError::exit_code`].
    pub fn load(
        args: impl Iterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, ConfigError> {
        let flags = flags::parse(args)?;
        let named = flags
            .config
            .or_else(|| env("AMPD_CONFIG").map(PathBuf::from));
        let layers = Layers::default()
            .over(flags.layer)
            .over(layers::environment(&env)?);
        let file = file_layer(named, &layers, &env)?;
        settings::check(&layers.over(file).over(layers::defaults()), &env)
    }

    /// Returns the directory of this node's files: `<data-dir>/<network>`.
    #[must_use]
    pub fn network_dir(&self) -> PathBuf {
        self.data_dir.join(network_name(self.network))
    }
}

/// Reads the config file named by the user, or the one in the data directory if it exists.
fn file_layer(
    named: Option<PathBuf>,
    layers: &Layers,
    env: &settings::Env<'_>,
) -> Result<Layer, ConfigError> {
    if let Some(path) = named {
        let path = path
            .to_str()
            .map_or(Ok(path.clone()), |text| settings::expand(text, env))?;
        return file::read(&path);
    }
    match default_file(layers, env)? {
        path if exists(&path) => file::read(&path),
        _ => Ok(Layer::new()),
    }
}

fn default_file(layers: &Layers, env: &settings::Env<'_>) -> Result<PathBuf, ConfigError> {
    let with_defaults = layers.clone().over(layers::defaults());
    Ok(settings::path(&with_defaults, "data-dir", env)?.join(FILE_NAME))
}

/// Returns true also for an inaccessible file, so that reading it reports the cause.
fn exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

#[cfg(test)]
mod tests;
