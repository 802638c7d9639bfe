//! ampd with Core Lightning and with Eclair, set by `LIGHTNINGD_EXE` and `ECLAIR_EXE`. Tests are
//! reported as skipped if their program is not set.

mod announced;
mod closes;
mod crash;
mod forwarding;
mod one_hop;
mod private;
mod refusals;
mod restarts;
mod scene;
mod storage;

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use regtest::binaries::{self, Binaries};
use regtest::node::Software;

/// HTLCs of completed payments are removed within a second or two; a busy machine may take longer.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}

/// Whether this program is available. If not, reports that the calling test is skipped.
///
/// # Errors
/// If its variable is set but not to a file.
fn is_here(software: Software) -> Result<bool> {
    let (exe, variable) = match software {
        Software::CoreLightning => (binaries::lightningd()?, "LIGHTNINGD_EXE"),
        Software::Eclair => (binaries::eclair()?, "ECLAIR_EXE"),
        Software::Ampd | Software::Lnd => return Ok(true),
    };
    if exe.is_none() {
        // libtest names the thread of a test after it, and does not capture direct writes to stderr.
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        writeln!(
            std::io::stderr(),
            "peers: {test} SKIPPED, {variable} is not set"
        )?;
    }
    Ok(exe.is_some())
}

/// Turns each of these functions into a test with Core Lightning and one with Eclair.
macro_rules! with_both {
    ($($scenario:ident),* $(,)?) => {
        mod core_lightning {
            $(#[tokio::test]
            async fn $scenario() -> anyhow::Result<()> {
                use regtest::node::Software::CoreLightning;
                if crate::is_here(CoreLightning)? {
                    super::$scenario(CoreLightning).await?;
                }
                Ok(())
            })*
        }

        mod eclair {
            $(#[tokio::test]
            async fn $scenario() -> anyhow::Result<()> {
                use regtest::node::Software::Eclair;
                if crate::is_here(Eclair)? {
                    super::$scenario(Eclair).await?;
                }
                Ok(())
            })*
        }
    };
}
pub(crate) use with_both;
