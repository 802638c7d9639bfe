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
pub struct WalletBalance {
    /// Only this account
    #[arg(long, default_value = "")]
    account: String,
    /// Confirmations from which an output counts as confirmed
    #[arg(long, default_value_t = 1)]
    min_confs: i32,
}

impl WalletBalance {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
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

/// Says on stderr what the wallet lacks for the fees of forced closes.
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
            "warning: {need} sat should be in the wallet for the fees of forced closes, and {have} sat \
             are confirmed and not locked; send coins to an address of `ampcli newaddress p2wkh`"
        )
    })
}

/// Kinds of addresses by lncli's names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    P2wkh,
    Np2wkh,
    P2tr,
}

/// Generate a new on-chain address.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct NewAddress {
    /// Kind of address
    #[arg(value_enum, default_value_t = Kind::P2wkh)]
    address_type: Kind,
    /// Account of the wallet
    #[arg(long, default_value = "")]
    account: String,
    /// The last address again, as long as nothing was paid to it
    #[arg(long)]
    unused: bool,
}

impl NewAddress {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
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

/// How inputs are chosen, by lncli's names.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Strategy {
    GlobalConfig,
    Largest,
    Random,
}

impl Strategy {
    /// As the API wants it.
    pub fn number(self) -> i32 {
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
pub struct SendCoins {
    #[arg(id = "address", value_name = "ADDR")]
    address: Option<String>,
    #[arg(id = "amount", value_name = "AMT", value_parser = sat)]
    amount: Option<u64>,
    /// The address
    #[arg(long, conflicts_with = "address")]
    addr: Option<String>,
    /// The amount (sat, or with a unit: 50000sat, 0.001btc)
    #[arg(long, conflicts_with = "amount", value_parser = sat)]
    amt: Option<u64>,
    /// Send the whole wallet balance
    #[arg(long)]
    sweepall: bool,
    /// Confirmation target for fee estimation (blocks)
    #[arg(long, default_value_t = 0)]
    conf_target: i32,
    /// Fee rate
    #[arg(long, default_value_t = 0, alias = "sat_per_byte")]
    sat_per_vbyte: u64,
    /// Confirmations that an output must have to be spent
    #[arg(long, default_value_t = 1)]
    min_confs: i32,
    /// Do not ask for confirmation
    #[arg(long, short)]
    force: bool,
    /// Coin selection strategy
    #[arg(long, value_enum, default_value_t = Strategy::GlobalConfig)]
    coin_selection_strategy: Strategy,
    /// An output to spend (txid:index); may be repeated
    #[arg(long, value_parser = outpoint)]
    utxo: Vec<bitcoin::OutPoint>,
    /// A note for the transaction
    #[arg(long, default_value = "")]
    label: String,
}

impl SendCoins {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let force = self.force;
        let request = self.request()?;
        // As lncli: scripts are not asked.
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
            return error("the address is missing: give ADDR or --addr");
        };
        let amount = self.amt.or(self.amount);
        if amount.is_some() == self.sweepall {
            return error("give either an amount or --sweepall");
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
    fn a_missing_reserve_is_said_with_both_numbers() {
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
