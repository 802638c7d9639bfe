//! Any text as the config file: errors are one line, and neither they nor the settings show the password.
#![no_main]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use ampd::config::{Config, ConfigError};
use libfuzzer_sys::fuzz_target;

/// What sysexits call EX_CONFIG.
const WRONG_CONFIG: u8 = 78;
const PASSWORD: &str = "pw-3f9c1e70";

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("ampd-fuzz-{}.toml", std::process::id());
    std::env::temp_dir().join(name)
});

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let login = format!("bitcoind-rpc-user = \"u\"\nbitcoind-rpc-password = \"{PASSWORD}\"\n");
    let shown = check(&[login.as_bytes(), bytes].concat());
    let is_known = bytes
        .windows(PASSWORD.len())
        .any(|part| part == PASSWORD.as_bytes());
    assert!(is_known || !shown.contains(PASSWORD), "{shown}");
});

/// Returns the settings or the error as text.
fn check(text: &[u8]) -> String {
    match load(text, &FILE) {
        Ok(config) => {
            let _ = config.network_dir();
            format!("{config:?}")
        }
        Err(error) => {
            let text = error.to_string();
            assert_eq!(error.exit_code(), WRONG_CONFIG, "{text}");
            assert!(!text.contains('\n'), "{text}");
            text
        }
    }
}

fn load(text: &[u8], file: &Path) -> Result<Config, ConfigError> {
    std::fs::write(file, text).expect("the temporary directory is writable");
    let flags = ["ampd".into(), "--config".into(), file.into()];
    let home = |name: &str| (name == "HOME").then(|| OsString::from("/nonexistent"));
    Config::load(flags.into_iter(), home)
}
