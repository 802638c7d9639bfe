//! ampcli: talks to a running ampd.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ampd::cli::run(std::env::args_os()).await
}
