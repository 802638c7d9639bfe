//! Validation: parses the values of the merged layers into a [`Config`].

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::Network;
use lightning::ln::channelmanager::MIN_CLTV_EXPIRY_DELTA;
use lightning::ln::msgs::SocketAddress;

use super::error::ConfigError;
use super::layers::Layers;
use ampd_files::expand_home;
use lnd_api::layout::{HostPort, NETWORK_NAMES, network_by_name};

use super::network::{bitcoind_rpc_port, bitcoind_subdir};
use super::values::{Alias, BitcoindAuth, Color, LogFormat, Secret};
use super::{Amp, Bitcoind, Callers, Config, Forwarding, Log};
use crate::log_levels;

/// Maximum number of HTLCs of a channel in one direction (BOLT 2).
const MAX_HTLCS_PER_CHANNEL: u16 = 483;
/// More shards than any sender needs, yet little memory.
const MAX_HTLCS_PER_SET: u16 = 2048;
/// Sets are small, but each takes a database row and a timer.
const MAX_OPEN_SETS: u32 = 1_000_000;
/// LDK's default minimum channel capacity, in satoshis.
const MIN_CHANNEL_SAT: u64 = 1000;
/// The total supply, in satoshis.
const MAX_CHANNEL_SAT: u64 = 21_000_000 * 100_000_000;
/// In satoshis: 10 BTC, more than any channel's capacity.
const MAX_DUST_SAT: u64 = 1_000_000_000;
const POLL_INTERVAL: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(60);

/// Looks up environment variables.
pub(super) type Env<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Validates all values.
///
/// # Errors
/// [`ConfigError`] for the first invalid value or conflict.
pub(super) fn check(layers: &Layers, env: &Env<'_>) -> Result<Config, ConfigError> {
    let network = layers.value("network", NETWORK_NAMES, network_by_name)?;
    Ok(Config {
        network,
        data_dir: path(layers, "data-dir", env)?,
        alias: layers.optional(
            "alias",
            "at most 32 bytes without control characters",
            Alias::new,
        )?,
        color: layers.value("color", "a color such as \"#3399ff\"", Color::parse)?,
        listen: layers.items("listen", "IP:port, such as 0.0.0.0:9735", |text| {
            text.parse().ok()
        })?,
        external_addresses: external_addresses(layers)?,
        callers: callers(layers)?,
        bitcoind: bitcoind(layers, env, network)?,
        amp: amp(layers)?,
        accept_keysend: layers.switch("accept-keysend")?,
        forwarding: forwarding(layers)?,
        min_channel_size_sat: layers.number(
            "min-channel-size-sat",
            MIN_CHANNEL_SAT,
            MAX_CHANNEL_SAT,
        )?,
        require_anchor_reserve: layers.switch("require-anchor-reserve")?,
        max_dust_exposure_sat: layers.number("max-dust-exposure-sat", 0, MAX_DUST_SAT)?,
        log: log(layers)?,
        metrics_listen: layers.optional(
            "metrics-listen",
            "IP:port, such as 127.0.0.1:9740",
            |text| text.parse().ok(),
        )?,
        donations: super::donations::check(layers)?,
    })
}

fn callers(layers: &Layers) -> Result<Callers, ConfigError> {
    let ip = "IP addresses such as 192.168.1.5";
    Ok(Callers {
        rpc_listen: layers.value("rpc-listen", "IP:port, such as 127.0.0.1:10009", address)?,
        rest_listen: layers.value(
            "rest-listen",
            "IP:port, such as 127.0.0.1:8080, or none",
            |text| match text {
                "none" => Some(None),
                text => address(text).map(Some),
            },
        )?,
        rest_cors: layers.items("rest-cors", "https://host[:port] or *", origin)?,
        tls_extra_ips: layers.items("tls-extra-ip", ip, |text| text.parse().ok())?,
        tls_extra_domains: layers.items("tls-extra-domain", "DNS names", domain)?,
    })
}

fn address(text: &str) -> Option<SocketAddr> {
    text.replacen("localhost:", "127.0.0.1:", 1).parse().ok()
}

/// Parses an origin as browsers send it: without a path, not even a slash.
fn origin(text: &str) -> Option<String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_host = host.is_some_and(|host| !host.is_empty() && !host.contains('/'));
    (is_host || text == "*").then(|| text.to_owned())
}

fn domain(text: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._*".contains(c);
    let is_domain = !text.is_empty() && text.chars().all(is_allowed);
    is_domain.then(|| text.to_owned())
}

/// Returns each address once, even if it is written in different ways, because they are announced.
fn external_addresses(layers: &Layers) -> Result<Vec<SocketAddress>, ConfigError> {
    let parse = |text: &str| text.parse::<SocketAddress>().ok();
    let mut addresses = Vec::new();
    for address in layers.items("external-address", "host:port", parse)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn bitcoind(layers: &Layers, env: &Env<'_>, network: Network) -> Result<Bitcoind, ConfigError> {
    let port = bitcoind_rpc_port(network);
    let address = |text: &str| HostPort::parse(text, port);
    Ok(Bitcoind {
        rpc_address: layers.value("bitcoind-rpc-address", "host or host:port", address)?,
        auth: bitcoind_auth(layers, env, network)?,
        poll_interval: layers.value(
            "chain-poll-interval",
            "a duration from 50ms to 1min",
            |text| {
                humantime::parse_duration(text)
                    .ok()
                    .filter(|time| POLL_INTERVAL.contains(time))
            },
        )?,
    })
}

fn bitcoind_auth(
    layers: &Layers,
    env: &Env<'_>,
    network: Network,
) -> Result<BitcoindAuth, ConfigError> {
    let text = |text: &str| Some(text.to_owned());
    let user = layers.optional("bitcoind-rpc-user", "a name", text)?;
    let password = layers.optional("bitcoind-rpc-password", "a string", |text| {
        Some(Secret::new(text))
    })?;
    let cookie = layers.optional("bitcoind-rpc-cookie", "a path", text)?;
    let name = |key| layers.name_of(key);
    match (user, password, cookie) {
        (Some(user), Some(password), None) => Ok(BitcoindAuth::Password { user, password }),
        (None, None, Some(_)) => Ok(BitcoindAuth::Cookie(path(
            layers,
            "bitcoind-rpc-cookie",
            env,
        )?)),
        (None, None, None) => {
            let dir = expand("~/.bitcoin", env)?;
            Ok(BitcoindAuth::Cookie(
                dir.join(bitcoind_subdir(network)).join(".cookie"),
            ))
        }
        (Some(_), None, _) => Err(ConfigError::Conflict(format!(
            "{} is set, but bitcoind-rpc-password is not; set it in the config file or as \
             AMPD_BITCOIND_RPC_PASSWORD",
            name("bitcoind-rpc-user"),
        ))),
        (None, Some(_), _) => Err(ConfigError::Conflict(format!(
            "{} is set, but bitcoind-rpc-user is not; set both or neither",
            name("bitcoind-rpc-password"),
        ))),
        (Some(_), Some(_), Some(_)) => Err(ConfigError::Conflict(format!(
            "{} and {} are both set; use user and password, or the cookie",
            name("bitcoind-rpc-user"),
            name("bitcoind-rpc-cookie"),
        ))),
    }
}

fn amp(layers: &Layers) -> Result<Amp, ConfigError> {
    Ok(Amp {
        accept: layers.switch("accept-amp")?,
        max_htlcs_per_set: layers.number("max-htlcs-per-set", 1, MAX_HTLCS_PER_SET)?,
        max_open_sets: layers.number("max-open-sets", 0, MAX_OPEN_SETS)?,
        max_held_htlcs_per_channel: layers.number(
            "max-held-htlcs-per-channel",
            1,
            MAX_HTLCS_PER_CHANNEL,
        )?,
    })
}

fn forwarding(layers: &Layers) -> Result<Forwarding, ConfigError> {
    Ok(Forwarding {
        base_fee_msat: layers.number("base-fee-msat", 0, u32::MAX)?,
        fee_rate_ppm: layers.number("fee-rate-ppm", 0, 1_000_000)?,
        cltv_delta: layers.number("cltv-delta", MIN_CLTV_EXPIRY_DELTA, 2016)?,
        delay: layers.switch("forward-delay")?,
    })
}

fn log(layers: &Layers) -> Result<Log, ConfigError> {
    let format = |text: &str| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    };
    let filter = |text: &str| log_levels::filter(text).ok();
    Ok(Log {
        filter: layers.value("log-level", &log_levels::expected(), filter)?,
        format: layers.value("log-format", "text or json", format)?,
    })
}

/// Returns the value of a key as a path, with `~` expanded.
pub(super) fn path(
    layers: &Layers,
    name: &'static str,
    env: &Env<'_>,
) -> Result<PathBuf, ConfigError> {
    let text = layers.value(name, "a path", |text| {
        (!text.is_empty()).then(|| text.to_owned())
    })?;
    expand(&text, env)
}

/// Replaces `~` at the start of a path by the home directory.
///
/// # Errors
/// If HOME is needed but not set.
pub(super) fn expand(text: &str, env: &Env<'_>) -> Result<PathBuf, ConfigError> {
    let expanded = expand_home(text, env("HOME"));
    expanded.map_err(|ampd_files::NoHome { path }| ConfigError::NoHome { path })
}
