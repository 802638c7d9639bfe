//! Accounts, addresses and reserve: `accounts list`, `addresses list`, `requiredreserve`.

use clap::{Args, Subcommand, ValueEnum};

use crate::connection::Node;
use crate::error::CliError;
use crate::output::print;
use lnd_api::proto::walletrpc::{
    AddressType, ListAccountsRequest, ListAddressesRequest, RequiredReserveRequest,
};

/// List the accounts of the wallet.
#[derive(Debug, Args)]
pub(super) struct Accounts {
    #[command(subcommand)]
    command: AccountsCommand,
}

#[derive(Debug, Subcommand)]
enum AccountsCommand {
    List(ListAccounts),
}

/// Address types of accounts, with lncli's names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    P2wkh,
    Np2wkh,
    #[value(name = "np2wkh-p2wkh")]
    Hybrid,
    P2tr,
}

/// List the accounts of the wallet.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
struct ListAccounts {
    /// Name of the account to list; the only one is "default"
    #[arg(long, default_value = "")]
    name: String,
    /// List only accounts with this address type; ampd has only p2wkh
    #[arg(long, value_enum)]
    address_type: Option<Kind>,
}

impl Accounts {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let AccountsCommand::List(command) = self.command;
        let kind = match command.address_type {
            None => AddressType::Unknown,
            Some(Kind::P2wkh) => AddressType::WitnessPubkeyHash,
            Some(Kind::Np2wkh) => AddressType::NestedWitnessPubkeyHash,
            Some(Kind::Hybrid) => AddressType::HybridNestedWitnessPubkeyHash,
            Some(Kind::P2tr) => AddressType::TaprootPubkey,
        };
        let request = ListAccountsRequest {
            name: command.name,
            address_type: kind.into(),
        };
        print(node.wallet.list_accounts(request).await?.get_ref())
    }
}

/// List the addresses of the wallet.
#[derive(Debug, Args)]
pub(super) struct Addresses {
    #[command(subcommand)]
    command: AddressesCommand,
}

#[derive(Debug, Subcommand)]
enum AddressesCommand {
    List(ListAddresses),
}

/// List the addresses of the wallet with their balances.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
struct ListAddresses {
    /// Account of the addresses; the only one is "default"
    #[arg(long, default_value = "")]
    account_name: String,
    /// Include custom accounts; has no effect, ampd has none
    #[arg(long)]
    show_custom_accounts: bool,
}

impl Addresses {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let AddressesCommand::List(command) = self.command;
        let request = ListAddressesRequest {
            account_name: command.account_name,
            show_custom_accounts: command.show_custom_accounts,
        };
        print(node.wallet.list_addresses(request).await?.get_ref())
    }
}

/// Show the reserve (sat) required in the wallet for the fees of force closes.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(super) struct RequiredReserve {
    /// Number of additional channels for which to compute the reserve
    #[arg(long, default_value_t = 0)]
    additional_channels: u32,
}

impl RequiredReserve {
    pub(super) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = RequiredReserveRequest {
            additional_public_channels: self.additional_channels,
        };
        print(node.wallet.required_reserve(request).await?.get_ref())
    }
}
