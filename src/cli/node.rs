//! The node itself: `getinfo`, `stop`.

use clap::Args;

use super::connection::Node;
use super::error::CliError;
use super::output::print;
use crate::rpc::proto::lnrpc::{GetInfoRequest, StopRequest};

/// Who this node is and how it is doing.
#[derive(Debug, Args)]
pub struct GetInfo {}

impl GetInfo {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        print(node.lightning.get_info(GetInfoRequest {}).await?.get_ref())
    }
}

/// Stop the node in good order.
#[derive(Debug, Args)]
pub struct Stop {}

impl Stop {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        print(node.lightning.stop_daemon(StopRequest {}).await?.get_ref())
    }
}
