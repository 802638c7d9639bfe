//! Installs the clients from their registries, once for each version that the tests require.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::file;

/// A directory with the npm packages.
pub(crate) fn from_npm() -> Result<PathBuf> {
    let wanted = fs::read_to_string(file("package.json"))?;
    let directory = target("npm");
    once(&directory, &wanted, || {
        fs::write(directory.join("package.json"), &wanted)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock"]);
        run(npm.current_dir(&directory))
    })?;
    Ok(directory)
}

/// A Python environment with LNbits.
pub(crate) fn from_pypi() -> Result<PathBuf> {
    let wanted = fs::read_to_string(file("requirements.txt"))?;
    let directory = target("python");
    once(&directory, &wanted, || {
        run(Command::new("python3").args(["-m", "venv"]).arg(&directory))?;
        let mut pip = Command::new(directory.join("bin/pip"));
        run(pip
            .args(["install", "--quiet", "--requirement"])
            .arg(file("requirements.txt")))
    })?;
    Ok(directory)
}

/// A directory next to other build artifacts.
fn target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("clients")
        .join(name)
}

/// Installs unless already done for `wanted`; a partial installation is removed.
fn once(directory: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = directory.join("installed");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    install()?;
    Ok(fs::write(done, wanted)?)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {text}");
    Ok(())
}
