//! Tests of the whole configuration: layers, file, validation and error texts.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

/// Loads a configuration from flags and variables; HOME is a directory that does not exist.
fn load(flags: &[&str], vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut vars: BTreeMap<_, _> = vars.iter().copied().collect();
    vars.entry("HOME").or_insert("/nonexistent");
    let args = std::iter::once("ampd")
        .chain(flags.iter().copied())
        .map(OsString::from);
    Config::load(args, |name| vars.get(name).map(OsString::from))
}

/// Loads a configuration from a file with this text.
fn load_file(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ampd.toml");
    std::fs::write(&path, text).unwrap();
    load(&["--config", path.to_str().unwrap()], &[])
}

fn error_of(text: &str) -> String {
    let error = load_file(text).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn unset_keys_have_their_defaults() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(
        config.network_dir(),
        Path::new("/nonexistent/.ampd/mainnet")
    );
    assert_eq!(config.alias, None);
    assert_eq!(config.color.to_string(), "#3399ff");
    assert_eq!(config.listen, ["0.0.0.0:9735".parse().unwrap()]);
    assert_eq!(
        config.callers.rpc_listen,
        "127.0.0.1:10009".parse().unwrap()
    );
    assert_eq!(config.bitcoind.rpc_address.to_string(), "127.0.0.1:8332");
    let cookie = PathBuf::from("/nonexistent/.bitcoin/.cookie");
    assert_eq!(config.bitcoind.auth, BitcoindAuth::Cookie(cookie));
    assert!(!config.amp.accept && !config.accept_keysend && !config.forwarding.delay);
    assert_eq!(config.forwarding.cltv_delta, 80);
}

#[test]
fn unedited_example_changes_nothing() {
    assert_eq!(load_file(&example()).unwrap(), load(&[], &[]).unwrap());
}

#[test]
fn example_with_every_key_uncommented_equals_the_defaults() {
    let text = example();
    let settings: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.is_empty() && !line.starts_with(' '))
        .collect();
    assert_eq!(settings.len(), keys::all().count());
    for (line, key) in settings.iter().zip(keys::all()) {
        let (name, _) = line.split_once(" = ").unwrap();
        let in_table = format!("donations-{name}");
        assert!(key.name == name || key.name == in_table, "{line}");
    }
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(setting) if settings.contains(&setting) => setting.to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<_> = text.lines().map(uncommented).collect();
    assert_eq!(
        load_file(&text.join("\n")).unwrap(),
        load(&[], &[]).unwrap()
    );
}

#[test]
fn flags_override_environment_override_file_override_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ampd.toml");
    std::fs::write(
        &path,
        "base-fee-msat = 1\nfee-rate-ppm = 2\ncltv-delta = 100\n",
    )
    .unwrap();
    let flags = ["--config", path.to_str().unwrap(), "--base-fee-msat=3"];
    let vars = [("AMPD_BASE_FEE_MSAT", "4"), ("AMPD_FEE_RATE_PPM", "5")];
    let terms = load(&flags, &vars).unwrap().forwarding;
    assert_eq!(
        (terms.base_fee_msat, terms.fee_rate_ppm, terms.cltv_delta),
        (3, 5, 100)
    );
    assert!(!terms.delay);
}

#[test]
fn finds_the_file_in_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ampd.toml"), "network = \"signet\"").unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let config = load(&["--data-dir", data_dir], &[]).unwrap();
    assert_eq!(config.network_dir(), dir.path().join("signet"));
    assert_eq!(config.bitcoind.rpc_address.port, 38332);
    assert_eq!(load(&[], &[("AMPD_DATA_DIR", data_dir)]).unwrap(), config);
}

#[test]
fn rejects_a_missing_config_file() {
    let error = load(&["--config", "/nonexistent/a.toml"], &[])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot read the config file /nonexistent/a.toml: No such file"));
}

#[test]
fn duplicate_external_addresses_are_merged() {
    let twice = [
        "[2001:db8::1]:9735",
        "[2001:0DB8:0:0:0:0:0:1]:9735",
        "example.com:9735",
        "example.com:9735",
        "example.com:9736",
    ];
    let flags = twice.map(|address| format!("--external-address={address}"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let addresses = load(&flags, &[]).unwrap().external_addresses;
    let once: Vec<_> = [twice[0], twice[2], twice[4]]
        .map(|a| a.parse().unwrap())
        .into();
    assert_eq!(addresses, once);
}

#[test]
fn every_kind_of_value_can_be_set_in_every_layer() {
    let file = load_file(
        "network = \"regtest\"\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"]\naccept-amp = true\n\
         external-address = [\"example.com:9735\"]\nchain-poll-interval = \"100ms\"\n\
         max-open-sets = 1_000\nalias = \"carol\"",
    );
    let flags = load(
        &[
            "--network=regtest",
            "--listen=127.0.0.1:1",
            "--listen",
            "[::1]:2",
            "--accept-amp",
            "--external-address=example.com:9735",
            "--chain-poll-interval=100ms",
            "--max-open-sets=1_000",
            "--alias=carol",
        ],
        &[],
    );
    let vars = load(
        &[],
        &[
            ("AMPD_NETWORK", "regtest"),
            ("AMPD_LISTEN", "127.0.0.1:1, [::1]:2"),
            ("AMPD_ACCEPT_AMP", "true"),
            ("AMPD_EXTERNAL_ADDRESS", "example.com:9735"),
            ("AMPD_CHAIN_POLL_INTERVAL", "100ms"),
            ("AMPD_MAX_OPEN_SETS", "1000"),
            ("AMPD_ALIAS", "carol"),
        ],
    );
    let file = file.unwrap();
    assert_eq!(file.listen.len(), 2);
    assert!(file.amp.accept);
    assert_eq!(flags.unwrap(), file);
    assert_eq!(vars.unwrap(), file);
}

#[test]
fn lists_can_be_emptied() {
    assert_eq!(load_file("listen = []").unwrap().listen, []);
    assert_eq!(load(&["--listen="], &[]).unwrap().listen, []);
    assert_eq!(load(&[], &[("AMPD_LISTEN", "")]).unwrap().listen, []);
}

#[test]
fn unknown_key_error_names_the_file_and_a_similar_key() {
    let error = error_of("acept-amp = true");
    assert!(
        error.starts_with("unknown key \"acept-amp\" in /"),
        "{error}"
    );
    assert!(
        error.ends_with("ampd.toml; did you mean \"accept-amp\"?"),
        "{error}"
    );
}

#[test]
fn type_errors_name_the_found_and_expected_type() {
    for (line, end) in [
        (
            "accept-amp = \"yes\"",
            "found the string \"yes\", expected true or false without quotes",
        ),
        (
            "accept-amp = 1",
            "found the number 1, expected true or false without quotes",
        ),
        (
            "cltv-delta = \"80\"",
            "found the string \"80\", expected a whole number without quotes",
        ),
        (
            "cltv-delta = 80.5",
            "found the number 80.5, expected a whole number without quotes",
        ),
        ("alias = 5", "found the number 5, expected a quoted string"),
        (
            "listen = \"0.0.0.0:1\"",
            "found the string \"0.0.0.0:1\", expected a list of strings such as [\"one\", \"two\"]",
        ),
        (
            "listen = [1]",
            "found a list, expected a list of strings such as [\"one\", \"two\"]",
        ),
        (
            "[network]\nx = 1",
            "found a table, expected a quoted string",
        ),
        (
            "bitcoind-rpc-password = 5",
            "found a value of type integer, expected a quoted string",
        ),
    ] {
        let error = error_of(line);
        assert!(error.ends_with(end), "{error}");
        assert!(
            error.contains(" in /") && error.contains("ampd.toml: "),
            "{error}"
        );
    }
}

#[test]
fn range_errors_name_the_expected_range() {
    for (line, end) in [
        (
            "cltv-delta = 40",
            "found \"40\", expected a whole number from 48 to 2016",
        ),
        (
            "cltv-delta = -1",
            "found \"-1\", expected a whole number from 48 to 2016",
        ),
        (
            "base-fee-msat = 99999999999",
            "found \"99999999999\", expected a whole number from 0 to 4294967295",
        ),
        (
            "network = \"bitcoin\"",
            "expected mainnet, testnet, testnet4, signet or regtest",
        ),
        (
            "color = \"blue\"",
            "found \"blue\", expected a color such as \"#3399ff\"",
        ),
        (
            "listen = [\"9735\"]",
            "found \"9735\", expected IP:port, such as 0.0.0.0:9735",
        ),
        (
            "external-address = [\"x\"]",
            "found \"x\", expected host:port",
        ),
        (
            "chain-poll-interval = \"5\"",
            "found \"5\", expected a duration from 50ms to 1min",
        ),
        (
            "chain-poll-interval = \"0s\"",
            "found \"0s\", expected a duration from 50ms to 1min",
        ),
        (
            "log-format = \"xml\"",
            "found \"xml\", expected text or json",
        ),
        (
            "log-level = \"warning\"",
            "found \"warning\", expected off, error, warn, info, debug or trace, optionally per subsystem, \
             such as info,ldk=debug (subsystems: chain, channels, invoices, ldk, node, onion, \
             payments, peers, routing, rpc, storage, wallet, web)",
        ),
        ("data-dir = \"\"", "found \"\", expected a path"),
    ] {
        let error = error_of(line);
        assert!(error.ends_with(end), "{error}");
    }
}

#[test]
fn validates_api_listen_addresses() {
    for address in ["[::1]:1", "localhost:1", "0.0.0.0:10009"] {
        let flag = format!("--rpc-listen={address}");
        assert!(load(&[flag.as_str()], &[]).is_ok(), "{address}");
    }
    let rest = |flag: &str| load(&[flag], &[]).map(|config| config.callers.rest_listen);
    assert_eq!(rest("--rest-listen=none").unwrap(), None);
    assert!(rest("--rest-listen=[::]:80").unwrap().is_some());
    for (flag, expected) in [
        ("--rpc-listen=node.example:1", "expected IP:port"),
        ("--rest-listen=8080", "or none"),
        ("--rest-cors=shop.example", "https://host"),
        ("--rest-cors=https://shop.example/", "https://host"),
        ("--tls-extra-ip=node.example", "IP addresses"),
        ("--tls-extra-domain=a b", "DNS names"),
    ] {
        let error = load(&[flag], &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn toml_syntax_errors_name_the_line() {
    let error = error_of("network = \"regtest\"\nalias = carol");
    assert!(error.contains("ampd.toml, line 2: "), "{error}");
    let error = error_of("alias = \"a\"\nalias = \"b\"");
    assert!(
        error.contains("ampd.toml, line 2: duplicate key"),
        "{error}"
    );
}

#[test]
fn bitcoind_auth_is_a_password_or_a_cookie() {
    let user = ("AMPD_BITCOIND_RPC_USER", "ampd");
    let password = ("AMPD_BITCOIND_RPC_PASSWORD", "hunter2");
    let cookie = ("AMPD_BITCOIND_RPC_COOKIE", "~/cookie");
    let auth = |vars: &[_]| load(&[], vars).map(|config| config.bitcoind.auth);
    let secret = Secret::new("hunter2");
    assert_eq!(
        auth(&[user, password]).unwrap(),
        BitcoindAuth::Password {
            user: "ampd".into(),
            password: secret
        }
    );
    assert_eq!(
        auth(&[cookie]).unwrap(),
        BitcoindAuth::Cookie("/nonexistent/cookie".into())
    );
    for (vars, text) in [
        (
            vec![user],
            "AMPD_BITCOIND_RPC_USER is set, but bitcoind-rpc-password is not",
        ),
        (
            vec![password, cookie],
            "AMPD_BITCOIND_RPC_PASSWORD is set, but bitcoind-rpc-user is",
        ),
        (
            vec![user, password, cookie],
            "AMPD_BITCOIND_RPC_USER and AMPD_BITCOIND_RPC_COOKIE",
        ),
    ] {
        let error = auth(&vars).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn password_has_no_flag_and_is_never_printed() {
    let error = load(&["--bitcoind-rpc-password=hunter2"], &[]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error
            .to_string()
            .contains("set bitcoind-rpc-password in the config file or")
    );
    assert!(!error.to_string().contains("hunter2"));
    let vars = [
        ("AMPD_BITCOIND_RPC_PASSWORD", "hunter2"),
        ("AMPD_BITCOIND_RPC_USER", "ampd"),
    ];
    let config = load(&[], &vars).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn flag_errors_and_help_exit_with_claps_codes() {
    assert_eq!(load(&["--acept-amp"], &[]).unwrap_err().exit_code(), 2);
    assert_eq!(load(&["regtest"], &[]).unwrap_err().exit_code(), 2);
    assert_eq!(load(&["--help"], &[]).unwrap_err().exit_code(), 0);
    assert_eq!(load(&["--version"], &[]).unwrap_err().exit_code(), 0);
}

#[test]
fn missing_home_is_an_error_only_where_needed() {
    let error = load(&[], &[("HOME", "")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "\"~/.ampd\" begins with ~, but the environment variable HOME is not set"
    );
    let flags = ["--data-dir=/nonexistent", "--bitcoind-rpc-cookie=/c"];
    assert!(load(&flags, &[("HOME", "")]).is_ok());
}

#[test]
fn donation_keys_can_be_set_in_a_table_by_flags_and_by_variables() {
    let table = "
[donations]
listen = \"127.0.0.1:8090\"
title = \"Tea\"
amounts = [5000, 1000, 1000]
goal = 100_000
show-messages = true
";
    let page = load_file(table).unwrap().donations.unwrap();
    assert_eq!(page.listen, "127.0.0.1:8090".parse().unwrap());
    assert_eq!((page.title.as_str(), page.text.as_str()), ("Tea", ""));
    assert_eq!(page.amounts_sat, [1_000, 5_000]);
    assert_eq!(page.goal_sat, Some(100_000));
    assert!(page.show_messages && !page.on_chain);
    assert_eq!(page.expiry, Validity::Seconds(365 * 86_400));

    let flat = load_file("donations-listen = \"127.0.0.1:1\"\ndonations-amounts = []").unwrap();
    assert_eq!(flat.donations.unwrap().amounts_sat, [0u64; 0]);
    let flags = ["--donations-listen=127.0.0.1:1", "--donations-amounts=7,3"];
    let config = load(&flags, &[("AMPD_DONATIONS_TITLE", "Cake")]).unwrap();
    let page = config.donations.unwrap();
    assert_eq!(page.title, "Cake");
    assert_eq!(page.amounts_sat, [3, 7]);
    assert_eq!(load(&[], &[]).unwrap().donations, None);
}

#[test]
fn donation_errors_name_the_key() {
    for (line, named) in [
        ("title = \"\"", "donations-title"),
        ("text = \"\\t\"", "donations-text"),
        ("amounts = [0]", "whole satoshis from 1"),
        ("amounts = [\"5\"]", "[1000, 5000]"),
        (
            "amounts = [1,2,3,4,5,6,7,8,9]",
            "found 9 amounts, expected at most 8",
        ),
        ("goal = -1", "donations-goal"),
        ("listen = \"8090\"", "IP:port"),
        ("base-url = \"example.org\"", "https://"),
        ("expiry = \"10y\"", "1min to 365d"),
        ("titel = \"x\"", "donations-title"),
        ("accept-amp = true", "donations-accept-amp"),
    ] {
        let error = error_of(&format!("[donations]\n{line}"));
        assert!(error.contains(named), "{error}");
    }
    let twice = error_of("donations-title = \"a\"\n[donations]\ntitle = \"b\"");
    assert!(twice.contains("twice"), "{twice}");
    let other = error_of("[listen]\nx = 1");
    assert!(other.contains("a table"), "{other}");
}
