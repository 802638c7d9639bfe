//! All commands. Each is implemented in the module of its group.

use clap::Subcommand;

use super::connection::{Node, Target};
use super::error::CliError;
use super::{
    chain_payments, chain_transactions, channels, close_all, delete_payments, donations,
    forwarding, graph, hold_invoices, invoice_end, invoice_events, invoice_lookup, invoices,
    ledger, lndconnect, macaroon_files, macaroons, manual, messages, node, open_close, pay,
    payments, peers, qr, routes, running, send_to_route, wallet, wallet_kit,
};

#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum Command {
    GetInfo(node::GetInfo),
    GetRecoveryInfo(node::GetRecoveryInfo),
    Stop(node::Stop),
    WalletBalance(wallet::WalletBalance),
    NewAddress(wallet::NewAddress),
    SendCoins(Box<wallet::SendCoins>),
    SendMany(Box<chain_payments::SendMany>),
    EstimateFee(chain_payments::EstimateFee),
    ListChainTxns(chain_transactions::ListChainTxns),
    ListUnspent(chain_transactions::ListUnspent),
    Wallet(wallet_kit::Wallet),
    Connect(peers::Connect),
    Disconnect(peers::Disconnect),
    ListPeers(peers::ListPeers),
    OpenChannel(Box<open_close::OpenChannel>),
    CloseChannel(Box<open_close::CloseChannel>),
    CloseAllChannels(close_all::CloseAllChannels),
    ChannelBalance(channels::ChannelBalance),
    ListChannels(channels::ListChannels),
    PendingChannels(channels::PendingChannels),
    ClosedChannels(channels::ClosedChannels),
    ExportChanBackup(channels::ExportChanBackup),
    GetNodeInfo(Box<graph::GetNodeInfo>),
    GetChanInfo(Box<graph::GetChanInfo>),
    GetNetworkInfo(graph::GetNetworkInfo),
    DescribeGraph(graph::DescribeGraph),
    FeeReport(forwarding::FeeReport),
    FwdingHistory(Box<forwarding::FwdingHistory>),
    UpdateChanPolicy(Box<forwarding::UpdateChanPolicy>),
    SignMessage(messages::SignMessage),
    VerifyMessage(messages::VerifyMessage),
    SendCustom(messages::SendCustom),
    SubscribeCustom(messages::SubscribeCustom),
    Version(running::Version),
    State(running::State),
    DebugLevel(running::DebugLevel),
    ListAliases(running::ListAliases),
    AddInvoice(Box<invoices::AddInvoice>),
    DecodePayReq(invoices::DecodePayReq),
    LookupInvoice(invoice_lookup::LookupInvoice),
    ListInvoices(invoice_lookup::ListInvoices),
    CancelInvoice(invoice_end::CancelInvoice),
    DeleteCanceledInvoice(invoice_end::DeleteCanceledInvoice),
    AddHoldInvoice(Box<hold_invoices::AddHoldInvoice>),
    SettleInvoice(hold_invoices::SettleInvoice),
    SubscribeInvoices(invoice_events::SubscribeInvoices),
    SubscribeInvoice(invoice_events::SubscribeInvoice),
    InvoicePayments(Box<ledger::InvoicePayments>),
    DisableInvoice(ledger::DisableInvoice),
    EnableInvoice(ledger::EnableInvoice),
    Donations(donations::Donations),
    SendPayment(Box<pay::SendPayment>),
    PayInvoice(Box<pay::PayInvoice>),
    TrackPayment(payments::TrackPayment),
    ListPayments(payments::ListPayments),
    DeletePayments(delete_payments::DeletePayments),
    QueryRoutes(Box<routes::QueryRoutes>),
    BuildRoute(routes::BuildRoute),
    SendToRoute(send_to_route::SendToRoute),
    EstimateRouteFee(routes::EstimateRouteFee),
    BakeMacaroon(macaroons::BakeMacaroon),
    ListMacaroonIds(macaroons::ListMacaroonIds),
    DeleteMacaroonId(macaroons::DeleteMacaroonId),
    ListPermissions(macaroons::ListPermissions),
    #[command(flatten)]
    Offline(Offline),
}

/// Commands that run without a node.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum Offline {
    Qr(qr::Qr),
    PrintMacaroon(macaroon_files::PrintMacaroon),
    ConstrainMacaroon(macaroon_files::ConstrainMacaroon),
    LndConnect(lndconnect::LndConnect),
    Completion(manual::Completion),
    Man(manual::Man),
}

impl Offline {
    fn run(self, target: &Target) -> Result<(), CliError> {
        match self {
            Offline::Qr(command) => command.run(),
            Offline::PrintMacaroon(command) => command.run(),
            Offline::ConstrainMacaroon(command) => command.run(),
            Offline::LndConnect(command) => command.run(target),
            Offline::Completion(script) => script.run(super::command()),
            Offline::Man(pages) => pages.run(super::command()),
        }
    }
}

impl Command {
    /// Runs the command on the node at `target`.
    pub(super) async fn run(self, target: &Target) -> Result<(), CliError> {
        let node = &mut match self {
            Command::Offline(command) => return command.run(target),
            _ => Node::connect(target).await?,
        };
        match self {
            // Handled above.
            Command::Offline(_) => Ok(()),
            Command::GetInfo(command) => command.run(node).await,
            Command::GetRecoveryInfo(command) => command.run(node).await,
            Command::Stop(command) => command.run(node).await,
            Command::WalletBalance(command) => command.run(node).await,
            Command::NewAddress(command) => command.run(node).await,
            Command::SendCoins(command) => command.run(node).await,
            Command::SendMany(command) => command.run(node).await,
            Command::EstimateFee(command) => command.run(node).await,
            Command::ListChainTxns(command) => command.run(node).await,
            Command::ListUnspent(command) => command.run(node).await,
            Command::Wallet(command) => command.run(node).await,
            Command::Connect(command) => command.run(node).await,
            Command::Disconnect(command) => command.run(node).await,
            Command::ListPeers(command) => command.run(node).await,
            Command::OpenChannel(command) => command.run(node).await,
            Command::CloseChannel(command) => command.run(node).await,
            Command::CloseAllChannels(command) => command.run(node).await,
            Command::ChannelBalance(command) => command.run(node).await,
            Command::ListChannels(command) => command.run(node).await,
            Command::PendingChannels(command) => command.run(node).await,
            Command::ClosedChannels(command) => command.run(node).await,
            Command::ExportChanBackup(command) => command.run(node).await,
            Command::GetNodeInfo(command) => command.run(node).await,
            Command::GetChanInfo(command) => command.run(node).await,
            Command::GetNetworkInfo(command) => command.run(node).await,
            Command::DescribeGraph(command) => command.run(node).await,
            Command::FeeReport(command) => command.run(node).await,
            Command::FwdingHistory(command) => command.run(node).await,
            Command::UpdateChanPolicy(command) => command.run(node).await,
            Command::SignMessage(command) => command.run(node).await,
            Command::VerifyMessage(command) => command.run(node).await,
            Command::SendCustom(command) => command.run(node).await,
            Command::SubscribeCustom(command) => command.run(node).await,
            Command::Version(command) => command.run(node).await,
            Command::State(command) => command.run(node).await,
            Command::DebugLevel(command) => command.run(node).await,
            Command::ListAliases(command) => command.run(node).await,
            Command::AddInvoice(command) => command.run(node).await,
            Command::DecodePayReq(command) => command.run(node).await,
            Command::LookupInvoice(command) => command.run(node).await,
            Command::ListInvoices(command) => command.run(node).await,
            Command::CancelInvoice(command) => command.run(node).await,
            Command::DeleteCanceledInvoice(command) => command.run(node).await,
            Command::AddHoldInvoice(command) => command.run(node).await,
            Command::SettleInvoice(command) => command.run(node).await,
            Command::SubscribeInvoices(command) => command.run(node).await,
            Command::SubscribeInvoice(command) => command.run(node).await,
            Command::InvoicePayments(command) => command.run(node).await,
            Command::DisableInvoice(command) => command.run(node).await,
            Command::EnableInvoice(command) => command.run(node).await,
            Command::Donations(command) => command.run(node).await,
            Command::SendPayment(command) => command.run(node).await,
            Command::PayInvoice(command) => command.run(node).await,
            Command::TrackPayment(command) => command.run(node).await,
            Command::ListPayments(command) => command.run(node).await,
            Command::DeletePayments(command) => command.run(node).await,
            Command::QueryRoutes(command) => command.run(node).await,
            Command::BuildRoute(command) => command.run(node).await,
            Command::SendToRoute(command) => command.run(node).await,
            Command::EstimateRouteFee(command) => command.run(node).await,
            Command::BakeMacaroon(command) => command.run(node).await,
            Command::ListMacaroonIds(command) => command.run(node).await,
            Command::DeleteMacaroonId(command) => command.run(node).await,
            Command::ListPermissions(command) => command.run(node).await,
        }
    }
}
