//! Runs apt-get with private directories: its own sources, lists, cache and package status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::mirrors::Mirror;

/// The package with bitcoind, and the smallest package that satisfies its dependency on systemd.
const PACKAGES: [&str; 2] = ["bitcoin-knots", "systemd-standalone-sysusers"];
const RELEASE: &str = "trixie";
const BACKPORTS: &str = "trixie-backports";
/// Debian's keys, as installed by the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Downloads the packages with all dependencies and returns their files.
///
/// `dir` is created for this. The machine's settings for proxies and transports apply; its hooks,
/// sources, pins and installed packages do not. apt verifies signatures and hashes.
///
/// # Errors
/// The error output of apt-get.
pub(super) fn fetch(dir: &Path, mirror: &Mirror) -> Result<Vec<PathBuf>> {
    let settings = lay_out(dir, mirror)?;
    run(&settings, &["update"])?;
    let mut install = vec![
        "install",
        "--download-only",
        "--yes",
        "--no-install-recommends",
    ];
    install.extend(["--target-release", BACKPORTS]);
    install.extend(PACKAGES);
    run(&settings, &install)?;
    let entries = fs::read_dir(dir.join("cache/archives"))?.collect::<Result<Vec<_>, _>>()?;
    let files = entries.into_iter().map(|entry| entry.path());
    Ok(files
        .filter(|file| file.extension().is_some_and(|end| end == "deb"))
        .collect())
}

/// Creates the directories and returns the configuration file.
fn lay_out(dir: &Path, mirror: &Mirror) -> Result<PathBuf> {
    for part in ["state/lists/partial", "cache/archives/partial", "none"] {
        fs::create_dir_all(dir.join(part))?;
    }
    // With an empty status file every dependency is downloaded, including the C library.
    fs::write(dir.join("state/status"), "")?;
    fs::write(dir.join("sources.list"), sources(mirror))?;
    let file = dir.join("apt.conf");
    fs::write(&file, settings(dir))?;
    Ok(file)
}

fn sources(mirror: &Mirror) -> String {
    let own = mirror.keyring.as_deref().filter(|file| file.is_file());
    let keyring = own.or(Some(Path::new(KEYRING)).filter(|file| file.is_file()));
    // Without a keyring file apt uses the keys trusted by the machine.
    let option = keyring.map(|file| format!("[signed-by={}] ", file.display()));
    let option = option.unwrap_or_default();
    let line = |suite: &str| format!("deb {option}{} {suite} main\n", mirror.uri);
    line(RELEASE) + &line(BACKPORTS)
}

/// apt reads this after the machine's own configuration.
fn settings(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "#clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Pre-Install-Pkgs;\n\
         #clear Acquire::IndexTargets::deb::DEP-11;\n\
         #clear Acquire::IndexTargets::deb::CNF;\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
         Dir::Etc::sourceparts \"{dir}/none\";\n\
         Dir::Etc::preferences \"{dir}/none/preferences\";\n\
         Dir::Etc::preferencesparts \"{dir}/none\";\n\
         Dir::State \"{dir}/state\";\n\
         Dir::State::lists \"{dir}/state/lists\";\n\
         Dir::State::status \"{dir}/state/status\";\n\
         Dir::State::extended_states \"{dir}/state/extended_states\";\n\
         Dir::Cache \"{dir}/cache\";\n\
         Dir::Cache::archives \"{dir}/cache/archives\";\n\
         Dir::Log \"{dir}\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         APT::Sandbox::User \"\";\n\
         APT::Update::Error-Mode \"any\";\n\
         Debug::NoLocking \"true\";\n"
    )
}

fn run(settings: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .arg("--config-file")
        .arg(settings)
        .arg("--quiet")
        .args(arguments);
    let output = command.env("LC_ALL", "C.UTF-8").output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("E: "))
        .collect();
    bail!("apt-get {} failed: {}", arguments[0], errors.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_mirror_fails_with_the_error_of_apt() {
        if crate::paths::on_path("apt-get", &std::env::var_os("PATH").unwrap()).is_none() {
            eprintln!("skipped: no apt-get on this machine");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("archive");
        fs::create_dir(&empty).unwrap();
        let mirror = Mirror {
            uri: format!("file:{}", empty.display()),
            keyring: None,
        };
        let error = fetch(&dir.path().join("apt"), &mirror)
            .unwrap_err()
            .to_string();
        assert!(error.contains("apt-get update failed: E: "), "{error}");
    }
}
