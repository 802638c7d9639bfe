//! The programs under test: where they are, or how they come to be.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::places;

/// Names another ampd to use, for example one of a release.
const VARIABLE: &str = "AMPD_EXE";
/// Name the lnd to test against, and its command line program.
const LND_VARIABLE: &str = "LND_EXE";
const LNCLI_VARIABLE: &str = "LNCLI_EXE";
/// Name Core Lightning's daemon and Eclair's start script.
const LIGHTNINGD_VARIABLE: &str = "LIGHTNINGD_EXE";
const ECLAIR_VARIABLE: &str = "ECLAIR_EXE";

/// ampd and ampcli.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub ampd: PathBuf,
    pub ampcli: PathBuf,
}

impl Binaries {
    /// Programs that cargo has built already: a test passes `env!("CARGO_BIN_EXE_ampd")` and
    /// `env!("CARGO_BIN_EXE_ampcli")`. The variable `AMPD_EXE` goes before.
    pub fn at(ampd: &str, ampcli: &str) -> Self {
        let named = env::var_os(VARIABLE).map(PathBuf::from);
        Self {
            ampd: named.unwrap_or_else(|| ampd.into()),
            ampcli: ampcli.into(),
        }
    }

    /// Lets cargo build them, in the profile of the running program.
    ///
    /// # Errors
    /// If they do not compile. cargo's own output goes to the terminal.
    pub fn build() -> Result<Self> {
        let exe = env::current_exe().context("cannot find the running program")?;
        let profile = exe.parent().context("the running program lies nowhere")?;
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // Together with this crate, so that cargo chooses the same features for the dependencies
        // and need not compile them once more.
        cargo.args([
            "build",
            "--package",
            "ampd",
            "--package",
            "regtest",
            "--bins",
            "--quiet",
        ]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo
            .current_dir(places::workspace())
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            bail!("cargo could not build ampd: {status}");
        }
        Ok(Self::at(&name(profile, "ampd"), &name(profile, "ampcli")))
    }
}

/// lnd and lncli, which are not ours to build.
#[derive(Clone, Debug)]
pub struct LndBinaries {
    pub lnd: PathBuf,
    pub lncli: PathBuf,
}

impl LndBinaries {
    /// The programs that the variables `LND_EXE` and `LNCLI_EXE` name; `None` if neither is set.
    ///
    /// # Errors
    /// If only one is set, or one names no file.
    pub fn named() -> Result<Option<Self>> {
        match [LND_VARIABLE, LNCLI_VARIABLE].map(program).into() {
            (None, None) => Ok(None),
            (Some(lnd), Some(lncli)) => Ok(Some(Self {
                lnd: lnd?,
                lncli: lncli?,
            })),
            _ => bail!("set {LND_VARIABLE} and {LNCLI_VARIABLE} both, or neither"),
        }
    }
}

/// Core Lightning's `lightningd`, which the variable `LIGHTNINGD_EXE` names; `None` if it is not set.
///
/// # Errors
/// If it names no file.
pub fn lightningd() -> Result<Option<PathBuf>> {
    program(LIGHTNINGD_VARIABLE).transpose()
}

/// Eclair's start script `eclair-node.sh`, which the variable `ECLAIR_EXE` names; `None` if it is not
/// set. It needs a Java runtime: see Eclair's own documentation.
///
/// # Errors
/// If it names no file.
pub fn eclair() -> Result<Option<PathBuf>> {
    program(ECLAIR_VARIABLE).transpose()
}

/// The program that a variable names, if it is set.
fn program(variable: &str) -> Option<Result<PathBuf>> {
    let named = env::var_os(variable).filter(|named| !named.is_empty())?;
    let path = PathBuf::from(named);
    let is_file = path.is_file();
    Some(
        is_file
            .then_some(path.clone())
            .with_context(|| format!("{variable} names {}, which is not a file", path.display())),
    )
}

fn name(dir: &Path, program: &str) -> String {
    dir.join(program).display().to_string()
}
