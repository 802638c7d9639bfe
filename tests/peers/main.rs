//! ampd with Core Lightning and with Eclair, set by `LIGHTNINGD_EXE` and `ECLAIR_EXE`. Tests are
//! ignored if their program is not set.

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

use std::process::ExitCode;
use std::time::Duration;

use regtest::binaries::Binaries;
use regtest::trials;

/// HTLCs of completed payments are removed within a second or two; a busy machine may take longer.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    trials::run([
        announced::trials(),
        closes::trials(),
        crash::trials(),
        forwarding::trials(),
        one_hop::trials(),
        private::trials(),
        refusals::trials(),
        restarts::trials(),
        storage::trials(),
    ])
}

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}

/// Turns each of these functions into a test with Core Lightning and one with Eclair.
macro_rules! with_both {
    ($($scenario:ident),* $(,)?) => {
        crate::with_one!(core_lightning, CoreLightning, [$($scenario),*]);
        crate::with_one!(eclair, Eclair, [$($scenario),*]);

        pub(crate) fn trials() -> regtest::trials::Trials {
            core_lightning::trials().and(eclair::trials())
        }
    };
}
pub(crate) use with_both;

/// Turns each of these functions into a test with one program, in a module of this name.
macro_rules! with_one {
    ($module:ident, $software:ident, [$($scenario:ident),*]) => {
        mod $module {
            use regtest::node::Software::$software;
            use regtest::trials;

            pub(super) fn trials() -> trials::Trials {
                trials![$($scenario),*].ignored_if(trials::missing($software))
            }

            $(async fn $scenario() -> anyhow::Result<()> {
                super::$scenario($software).await
            })*
        }
    };
}
pub(crate) use with_one;
