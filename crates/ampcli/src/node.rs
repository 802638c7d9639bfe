//! The node itself: `getinfo`, `getrecoveryinfo`, `stop`.

use clap::Args;

use super::connection::Node;
use super::error::CliError;
use super::output::print;
use super::wallet::warn_of_missing_reserve;
use lnd_api::proto::lnrpc::{
    GetInfoRequest, GetRecoveryInfoRequest, StopRequest, WalletBalanceRequest,
};

/// Show information about the node.
#[derive(Debug, Args)]
pub(crate) struct GetInfo {}

impl GetInfo {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        print(node.lightning.get_info(GetInfoRequest {}).await?.get_ref())?;
        let request = WalletBalanceRequest::default();
        // Ignore errors: the macaroon may not allow WalletBalance.
        if let Ok(balance) = node.lightning.wallet_balance(request).await {
            warn_of_missing_reserve(balance.get_ref());
        }
        Ok(())
    }
}

/// Show the progress of the wallet recovery; ampd has no recovery mode.
#[derive(Debug, Args)]
pub(crate) struct GetRecoveryInfo {}

impl GetRecoveryInfo {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = GetRecoveryInfoRequest {};
        print(node.lightning.get_recovery_info(request).await?.get_ref())
    }
}

/// Stop the node gracefully.
#[derive(Debug, Args)]
pub(crate) struct Stop {}

impl Stop {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        print(node.lightning.stop_daemon(StopRequest {}).await?.get_ref())
    }
}
