//! Version, state and log levels of the node: `version`, `state`, `debuglevel`, `listaliases`.

use clap::Args;
use serde_json::json;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::{print, print_json};
use lnd_api::proto::lnrpc::{DebugLevelRequest, ListAliasesRequest, SubscribeStateRequest};
use lnd_api::proto::verrpc::VersionRequest;
use lnd_api::to_json;
use lnd_api::version;

/// Show the versions of ampcli and the node.
#[derive(Debug, Args)]
pub(crate) struct Version {}

impl Version {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let answer = node.versioner.get_version(VersionRequest {}).await?;
        print_json(&json!({
            "lncli": to_json(&version::version(concat!("ampcli/", env!("CARGO_PKG_VERSION"))))?,
            "lnd": to_json(answer.get_ref())?,
        }))
    }
}

/// Show the current state of the node.
#[derive(Debug, Args)]
pub(crate) struct State {}

impl State {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let states = node.state.subscribe_state(SubscribeStateRequest {}).await?;
        match states.into_inner().message().await? {
            Some(state) => print(&state),
            None => error("the node closed the stream without a response"),
        }
    }
}

/// Set log levels until the node stops, or list the subsystems.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct DebugLevel {
    /// List the subsystems instead of setting levels
    #[arg(long)]
    show: bool,
    /// Log level: trace, debug, info, warn, error, critical or off; also per subsystem: peers=debug,ldk=off
    #[arg(long, default_value = "")]
    level: String,
}

impl DebugLevel {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = DebugLevelRequest {
            show: self.show,
            level_spec: self.level,
        };
        print(node.lightning.debug_level(request).await?.get_ref())
    }
}

/// List the SCID aliases of our channels.
#[derive(Debug, Args)]
pub(crate) struct ListAliases {}

impl ListAliases {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        print(
            node.lightning
                .list_aliases(ListAliasesRequest {})
                .await?
                .get_ref(),
        )
    }
}
