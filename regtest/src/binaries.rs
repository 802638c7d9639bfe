//! Locates or builds the programs under test.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;

/// Path of the ampd to test instead of the one built, for example from a release.
const VARIABLE: &str = "AMPD_EXE";
/// Paths of the lnd and lncli to test against.
const LND_VARIABLE: &str = "LND_EXE";
const LNCLI_VARIABLE: &str = "LNCLI_EXE";
/// Paths of Core Lightning's daemon and Eclair's start script.
const LIGHTNINGD_VARIABLE: &str = "LIGHTNINGD_EXE";
const ECLAIR_VARIABLE: &str = "ECLAIR_EXE";

/// ampd and ampcli.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub ampd: PathBuf,
    pub ampcli: PathBuf,
}

impl Binaries {
    /// Programs already built by cargo: a test passes `env!("CARGO_BIN_EXE_ampd")`, and ampcli is beside it
    /// after a build of the whole workspace (`cargo test --workspace`, `cargo build --workspace`). The
    /// variable `AMPD_EXE` takes precedence over this ampd.
    pub fn at(ampd: &str) -> Self {
        let named = env::var_os(VARIABLE).map(PathBuf::from);
        Self {
            ampd: named.unwrap_or_else(|| ampd.into()),
            ampcli: Path::new(ampd).with_file_name("ampcli"),
        }
    }

    /// Builds them with cargo, in the profile of the running program.
    ///
    /// # Errors
    /// If they do not compile. cargo writes its own output to the terminal.
    pub fn build() -> Result<Self> {
        let exe = env::current_exe().context("cannot find the path of the running program")?;
        let profile = exe
            .parent()
            .context("the running program has no parent directory")?;
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // Build together with this crate, so that cargo selects the same features of the dependencies
        // and does not compile them again.
        cargo.args([
            "build",
            "--package",
            "ampd",
            "--package",
            "ampcli",
            "--package",
            "regtest",
            "--bins",
            "--quiet",
        ]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo
            .current_dir(paths::workspace())
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            bail!("cargo failed to build ampd: {status}");
        }
        Ok(Self::at(&name(profile, "ampd")))
    }
}

/// lnd and lncli, which are not built here.
#[derive(Clone, Debug)]
pub struct LndBinaries {
    pub lnd: PathBuf,
    pub lncli: PathBuf,
}

impl LndBinaries {
    /// The programs set by `LND_EXE` and `LNCLI_EXE`; `None` if neither is set.
    ///
    /// # Errors
    /// If only one is set, or one is not a file.
    pub fn named() -> Result<Option<Self>> {
        match [LND_VARIABLE, LNCLI_VARIABLE].map(program).into() {
            (None, None) => Ok(None),
            (Some(lnd), Some(lncli)) => Ok(Some(Self {
                lnd: lnd?,
                lncli: lncli?,
            })),
            _ => bail!("set both {LND_VARIABLE} and {LNCLI_VARIABLE}, or neither"),
        }
    }
}

/// Core Lightning's `lightningd`, set by `LIGHTNINGD_EXE`; `None` if it is not set.
///
/// # Errors
/// If it is not a file.
pub fn lightningd() -> Result<Option<PathBuf>> {
    program(LIGHTNINGD_VARIABLE).transpose()
}

/// Eclair's start script `eclair-node.sh`, set by `ECLAIR_EXE`; `None` if it is not set. It needs a
/// Java runtime: see Eclair's documentation.
///
/// # Errors
/// If it is not a file.
pub fn eclair() -> Result<Option<PathBuf>> {
    program(ECLAIR_VARIABLE).transpose()
}

/// The program set by a variable, if it is set.
fn program(variable: &str) -> Option<Result<PathBuf>> {
    let named = env::var_os(variable).filter(|named| !named.is_empty())?;
    let path = PathBuf::from(named);
    let is_file = path.is_file();
    Some(
        is_file
            .then_some(path.clone())
            .with_context(|| format!("{variable} is {}, which is not a file", path.display())),
    )
}

fn name(dir: &Path, program: &str) -> String {
    dir.join(program).display().to_string()
}
