//! The on-chain wallet: `walletbalance`, `newaddress`, `sendcoins`.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};

use super::connection::Node;
use super::error::{CliError, error};
use super::output::print;
use super::prompt::confirm;
use super::values::{outpoint, sat, signed, wallet_output};
use lnd_api::proto::lnrpc::{
    AddressType, CoinSelectionStrategy, NewAddressRequest, SendCoinsRequest, WalletBalanceRequest,
    WalletBalanceResponse,
};

/// Show the on-chain balance.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct WalletBalance {
    /// Wallet account; the only one is "default"
    #[arg(long, default_value = "")]
    account: String,
    /// Minimum number of confirmations of the confirmed balance
    #[arg(long, default_value_t = 1)]
    min_confs: i32,
}

impl WalletBalance {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = WalletBalanceRequest {
            account: self.account,
            min_confs: self.min_confs,
        };
        let balance = node.lightning.wallet_balance(request).await?;
        print(balance.get_ref())?;
        warn_of_missing_reserve(balance.get_ref());
        Ok(())
    }
}

/// Warns on stderr if the wallet holds less than the reserve for the fees of force closes.
pub(super) fn warn_of_missing_reserve(balance: &WalletBalanceResponse) {
    if let Some(text) = missing_reserve(balance) {
        eprintln!("{text}");
    }
}

fn missing_reserve(balance: &WalletBalanceResponse) -> Option<String> {
    let (have, need) = (
        balance.confirmed_balance,
        balance.reserved_balance_anchor_chan,
    );
    (have < need).then(|| {
        format!(
            "warning: the reserve for the fees of force closes is {need} sat, but the wallet has only {have} \
             sat that are confirmed and not locked; deposit coins with `ampcli newaddress p2wkh`"
        )
    })
}

/// Address types with lncli's names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    P2wkh,
    Np2wkh,
    P2tr,
}

/// Generate a new on-chain address.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct NewAddress {
    /// Address type; only p2wkh is supported
    #[arg(value_enum, default_value_t = Kind::P2wkh)]
    address_type: Kind,
    /// Wallet account; the only one is "default"
    #[arg(long, default_value = "")]
    account: String,
    /// Return an existing address without payments, if there is one
    #[arg(long)]
    unused: bool,
}

impl NewAddress {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let kind = match (self.address_type, self.unused) {
            (Kind::P2wkh, false) => AddressType::WitnessPubkeyHash,
            (Kind::P2wkh, true) => AddressType::UnusedWitnessPubkeyHash,
            (Kind::Np2wkh, false) => AddressType::NestedPubkeyHash,
            (Kind::Np2wkh, true) => AddressType::UnusedNestedPubkeyHash,
            (Kind::P2tr, false) => AddressType::TaprootPubkey,
            (Kind::P2tr, true) => AddressType::UnusedTaprootPubkey,
        };
        let request = NewAddressRequest {
            r#type: kind.into(),
            account: self.account,
        };
        print(node.lightning.new_address(request).await?.get_ref())
    }
}

/// Coin selection strategies with lncli's names.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Strategy {
    GlobalConfig,
    Largest,
    Random,
}

impl Strategy {
    /// Returns the value of the API's enum.
    pub(crate) fn number(self) -> i32 {
        let strategy = match self {
            Strategy::GlobalConfig => CoinSelectionStrategy::StrategyUseGlobalConfig,
            Strategy::Largest => CoinSelectionStrategy::StrategyLargest,
            Strategy::Random => CoinSelectionStrategy::StrategyRandom,
        };
        strategy.into()
    }
}

/// Send coins to an on-chain address.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SendCoins {
    /// Destination address
    #[arg(id = "address", value_name = "ADDR")]
    address: Option<String>,
    /// Amount (sat, or with a unit: 50000sat, 0.001btc)
    #[arg(id = "amount", value_name = "AMT", value_parser = sat)]
    amount: Option<u64>,
    /// Destination address
    #[arg(long, conflicts_with = "address")]
    addr: Option<String>,
    /// Amount (sat, or with a unit: 50000sat, 0.001btc)
    #[arg(long, conflicts_with = "amount", value_parser = sat)]
    amt: Option<u64>,
    /// Send the whole balance except for the anchor reserve
    #[arg(long)]
    sweepall: bool,
    /// Confirmation target for fee estimation (blocks); 0 means 6
    #[arg(long, default_value_t = 0)]
    conf_target: i32,
    /// Fee rate (sat/vB); 0 means an estimate for conf_target
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// Minimum number of confirmations of the outputs spent
    #[arg(long, default_value_t = 1)]
    min_confs: i32,
    /// Send without asking for confirmation
    #[arg(long, short)]
    force: bool,
    /// Coin selection strategy; only global-config is supported
    #[arg(long, value_enum, default_value_t = Strategy::GlobalConfig)]
    coin_selection_strategy: Strategy,
    /// Output to spend (txid:index); may be repeated
    #[arg(long, value_parser = outpoint)]
    utxo: Vec<bitcoin::OutPoint>,
    /// Label for the transaction
    #[arg(long, default_value = "")]
    label: String,
}

impl SendCoins {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let force = self.force;
        let request = self.request()?;
        // As in lncli, scripts are not prompted.
        if !force && io::stdout().is_terminal() {
            let amount = match request.send_all {
                true => "everything".to_owned(),
                false => format!("{} sat", request.amount),
            };
            let question = format!(
                "Amount: {amount}\nDestination address: {}\nConfirm payment (yes/no): ",
                request.addr
            );
            confirm(&question, "payment not confirmed")?;
        }
        print(node.lightning.send_coins(request).await?.get_ref())
    }

    fn request(self) -> Result<SendCoinsRequest, CliError> {
        let Some(addr) = self.addr.or(self.address) else {
            return error("the destination address is missing: set ADDR or --addr");
        };
        let amount = self.amt.or(self.amount);
        if amount.is_some() == self.sweepall {
            return error("set either an amount or --sweepall");
        }
        if self.conf_target != 0 && self.sat_per_vbyte != 0 {
            return error("either conf_target or sat_per_vbyte should be set, but not both");
        }
        Ok(SendCoinsRequest {
            addr,
            amount: signed(amount.unwrap_or(0)),
            target_conf: self.conf_target,
            sat_per_vbyte: self.sat_per_vbyte,
            send_all: self.sweepall,
            label: self.label,
            min_confs: self.min_confs,
            spend_unconfirmed: self.min_confs == 0,
            coin_selection_strategy: self.coin_selection_strategy.number(),
            outpoints: self.utxo.iter().map(wallet_output).collect(),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_of_missing_reserve_with_both_amounts() {
        let balance = |confirmed_balance| WalletBalanceResponse {
            confirmed_balance,
            reserved_balance_anchor_chan: 20_000,
            ..Default::default()
        };
        assert_eq!(missing_reserve(&balance(20_000)), None);
        let text = missing_reserve(&balance(19_999)).unwrap();
        assert!(text.contains("20000 sat") && text.contains("19999 sat"));
    }
}
