//! The checked settings: what the layers say, as types that cannot hold a wrong value.

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

use super::network::{bitcoind_folder, bitcoind_rpc_port};
use super::values::{Alias, BitcoindAuth, Color, LogFormat, Secret};
use super::{Amp, Bitcoind, Callers, Config, Forwarding, Log};
use crate::log_levels;

/// HTLCs that a channel can carry in one direction (BOLT 2).
const MAX_HTLCS_PER_CHANNEL: u16 = 483;
/// More shards than any sender has a use for, and still little memory.
const MAX_HTLCS_PER_SET: u16 = 2048;
/// Sets are small, but each is a row and a timer.
const MAX_OPEN_SETS: u32 = 1_000_000;
/// The smallest channel that LDK accepts by default, in satoshi.
const MIN_CHANNEL_SAT: u64 = 1000;
const MAX_CHANNEL_SAT: u64 = 21_000_000 * 100_000_000;
/// No channel is larger (10 BTC).
const MAX_DUST_SAT: u64 = 1_000_000_000;
const POLL_INTERVAL: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(60);

/// What the checks need to know of the process environment.
pub type Env<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Checks everything that was said.
pub fn check(said: &Layers, env: &Env<'_>) -> Result<Config, ConfigError> {
    let network = said.value("network", NETWORK_NAMES, network_by_name)?;
    Ok(Config {
        network,
        data_dir: path(said, "data-dir", env)?,
        alias: said.optional(
            "alias",
            "at most 32 bytes without control characters",
            Alias::new,
        )?,
        color: said.value("color", "a colour such as \"#3399ff\"", Color::parse)?,
        listen: said.items("listen", "IP:port, such as 0.0.0.0:9735", |text| {
            text.parse().ok()
        })?,
        external_addresses: external_addresses(said)?,
        callers: callers(said)?,
        bitcoind: bitcoind(said, env, network)?,
        amp: amp(said)?,
        accept_keysend: said.switch("accept-keysend")?,
        forwarding: forwarding(said)?,
        min_channel_size_sat: said.number(
            "min-channel-size-sat",
            MIN_CHANNEL_SAT,
            MAX_CHANNEL_SAT,
        )?,
        require_anchor_reserve: said.switch("require-anchor-reserve")?,
        max_dust_exposure_sat: said.number("max-dust-exposure-sat", 0, MAX_DUST_SAT)?,
        log: log(said)?,
        metrics_listen: said.optional(
            "metrics-listen",
            "IP:port, such as 127.0.0.1:9740",
            |text| text.parse().ok(),
        )?,
        donations: super::donations::check(said)?,
    })
}

fn callers(said: &Layers) -> Result<Callers, ConfigError> {
    let ip = "IP addresses such as 192.168.1.5";
    Ok(Callers {
        rpc_listen: said.value("rpc-listen", "IP:port, such as 127.0.0.1:10009", address)?,
        rest_listen: said.value(
            "rest-listen",
            "IP:port, such as 127.0.0.1:8080, or none",
            |text| match text {
                "none" => Some(None),
                text => address(text).map(Some),
            },
        )?,
        rest_cors: said.items("rest-cors", "https://host[:port] or *", origin)?,
        tls_extra_ips: said.items("tls-extra-ip", ip, |text| text.parse().ok())?,
        tls_extra_domains: said.items("tls-extra-domain", "DNS names", domain)?,
    })
}

fn address(text: &str) -> Option<SocketAddr> {
    text.replacen("localhost:", "127.0.0.1:", 1).parse().ok()
}

/// As a browser writes it: without a path, not even a slash.
fn origin(text: &str) -> Option<String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_host = host.is_some_and(|host| !host.is_empty() && !host.contains('/'));
    (is_host || text == "*").then(|| text.to_owned())
}

fn domain(text: &str) -> Option<String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-._*".contains(letter);
    let is_domain = !text.is_empty() && text.chars().all(is_letter);
    is_domain.then(|| text.to_owned())
}

/// Each once, however often it is said or written in another way: the network hears them.
fn external_addresses(said: &Layers) -> Result<Vec<SocketAddress>, ConfigError> {
    let parse = |text: &str| text.parse::<SocketAddress>().ok();
    let mut addresses = Vec::new();
    for address in said.items("external-address", "host:port", parse)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn bitcoind(said: &Layers, env: &Env<'_>, network: Network) -> Result<Bitcoind, ConfigError> {
    let port = bitcoind_rpc_port(network);
    let address = |text: &str| HostPort::parse(text, port);
    Ok(Bitcoind {
        rpc_address: said.value("bitcoind-rpc-address", "host or host:port", address)?,
        auth: bitcoind_auth(said, env, network)?,
        poll_interval: said.value("chain-poll-interval", "a time from 50ms to 1min", |text| {
            humantime::parse_duration(text)
                .ok()
                .filter(|time| POLL_INTERVAL.contains(time))
        })?,
    })
}

fn bitcoind_auth(
    said: &Layers,
    env: &Env<'_>,
    network: Network,
) -> Result<BitcoindAuth, ConfigError> {
    let text = |text: &str| Some(text.to_owned());
    let user = said.optional("bitcoind-rpc-user", "a name", text)?;
    let password = said.optional("bitcoind-rpc-password", "a text", |text| {
        Some(Secret::new(text))
    })?;
    let cookie = said.optional("bitcoind-rpc-cookie", "a path", text)?;
    let name = |key| said.name_of(key);
    match (user, password, cookie) {
        (Some(user), Some(password), None) => Ok(BitcoindAuth::Password { user, password }),
        (None, None, Some(_)) => Ok(BitcoindAuth::Cookie(path(
            said,
            "bitcoind-rpc-cookie",
            env,
        )?)),
        (None, None, None) => {
            let folder = expand("~/.bitcoin", env)?;
            Ok(BitcoindAuth::Cookie(
                folder.join(bitcoind_folder(network)).join(".cookie"),
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

fn amp(said: &Layers) -> Result<Amp, ConfigError> {
    Ok(Amp {
        accept: said.switch("accept-amp")?,
        max_htlcs_per_set: said.number("max-htlcs-per-set", 1, MAX_HTLCS_PER_SET)?,
        max_open_sets: said.number("max-open-sets", 0, MAX_OPEN_SETS)?,
        max_held_htlcs_per_channel: said.number(
            "max-held-htlcs-per-channel",
            1,
            MAX_HTLCS_PER_CHANNEL,
        )?,
    })
}

fn forwarding(said: &Layers) -> Result<Forwarding, ConfigError> {
    Ok(Forwarding {
        base_fee_msat: said.number("base-fee-msat", 0, u32::MAX)?,
        fee_rate_ppm: said.number("fee-rate-ppm", 0, 1_000_000)?,
        cltv_delta: said.number("cltv-delta", MIN_CLTV_EXPIRY_DELTA, 2016)?,
        delay: said.switch("forward-delay")?,
    })
}

fn log(said: &Layers) -> Result<Log, ConfigError> {
    let format = |text: &str| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    };
    let filter = |text: &str| log_levels::filter(text).ok();
    Ok(Log {
        filter: said.value("log-level", &log_levels::expected(), filter)?,
        format: said.value("log-format", "text or json", format)?,
    })
}

/// The path that a key names.
pub fn path(said: &Layers, name: &'static str, env: &Env<'_>) -> Result<PathBuf, ConfigError> {
    let text = said.value(name, "a path", |text| {
        (!text.is_empty()).then(|| text.to_owned())
    })?;
    expand(&text, env)
}

/// A path with `~` replaced by the home directory.
pub fn expand(text: &str, env: &Env<'_>) -> Result<PathBuf, ConfigError> {
    let expanded = expand_home(text, env("HOME"));
    expanded.map_err(|ampd_files::NoHome { path }| ConfigError::NoHome { path })
}
