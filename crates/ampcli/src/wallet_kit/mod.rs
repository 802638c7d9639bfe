//! `wallet`: lncli's advanced commands for the on-chain wallet, one file per group.

mod accounts;
mod leases;
mod psbt;
mod transactions;

use clap::{Args, Subcommand};

use super::connection::Node;
use super::error::CliError;

/// Advanced commands for the on-chain wallet.
#[derive(Debug, Args)]
pub(crate) struct Wallet {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
enum Command {
    EstimateFeeRate(transactions::EstimateFeeRate),
    BumpFee(transactions::BumpFee),
    LabelTx(transactions::LabelTx),
    PublishTx(transactions::PublishTx),
    GetTx(transactions::GetTx),
    LeaseOutput(leases::LeaseOutput),
    ReleaseOutput(leases::ReleaseOutput),
    ListLeases(leases::ListLeases),
    Psbt(psbt::Psbt),
    Accounts(accounts::Accounts),
    Addresses(accounts::Addresses),
    RequiredReserve(accounts::RequiredReserve),
}

impl Wallet {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self.command {
            Command::EstimateFeeRate(command) => command.run(node).await,
            Command::BumpFee(command) => command.run(node).await,
            Command::LabelTx(command) => command.run(node).await,
            Command::PublishTx(command) => command.run(node).await,
            Command::GetTx(command) => command.run(node).await,
            Command::LeaseOutput(command) => command.run(node).await,
            Command::ReleaseOutput(command) => command.run(node).await,
            Command::ListLeases(command) => command.run(node).await,
            Command::Psbt(command) => command.run(node).await,
            Command::Accounts(command) => command.run(node).await,
            Command::Addresses(command) => command.run(node).await,
            Command::RequiredReserve(command) => command.run(node).await,
        }
    }
}
