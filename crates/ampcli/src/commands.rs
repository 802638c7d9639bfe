//! All commands. Each is implemented in the module of its group.

use clap::Subcommand;

use super::connection::{Node, Target};
use super::error::CliError;
use super::{
    cancel_invoice, chain_payments, chain_transactions, channels, close_all, close_channel,
    completion, daemon, delete_payments, donations, forwarding, graph, hold_invoices,
    invoice_events, invoice_lookup, invoice_payments, invoices, lndconnect, macaroon_files,
    macaroons, messages, node, open_channel, pay, payments, peers, qr, routes, send_to_route,
    wallet, wallet_kit,
};

/// All commands, in the order of `--help`.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum Command {
    #[command(flatten)]
    Node(NodeCommand),
    #[command(flatten)]
    OnChain(OnChainCommand),
    #[command(flatten)]
    Channel(ChannelCommand),
    #[command(flatten)]
    Network(NetworkCommand),
    #[command(flatten)]
    Daemon(DaemonCommand),
    #[command(flatten)]
    Invoice(InvoiceCommand),
    #[command(flatten)]
    Payment(PaymentCommand),
    #[command(flatten)]
    Macaroon(MacaroonCommand),
    #[command(flatten)]
    Offline(Offline),
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
            Command::Node(command) => command.run(node).await,
            Command::OnChain(command) => command.run(node).await,
            Command::Channel(command) => command.run(node).await,
            Command::Network(command) => command.run(node).await,
            Command::Daemon(command) => command.run(node).await,
            Command::Invoice(command) => command.run(node).await,
            Command::Payment(command) => command.run(node).await,
            Command::Macaroon(command) => command.run(node).await,
        }
    }
}

/// The node itself.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum NodeCommand {
    GetInfo(node::GetInfo),
    GetRecoveryInfo(node::GetRecoveryInfo),
    Stop(node::Stop),
}

impl NodeCommand {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self {
            Self::GetInfo(command) => command.run(node).await,
            Self::GetRecoveryInfo(command) => command.run(node).await,
            Self::Stop(command) => command.run(node).await,
        }
    }
}

/// On-chain funds.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum OnChainCommand {
    WalletBalance(wallet::WalletBalance),
    NewAddress(wallet::NewAddress),
    SendCoins(Box<wallet::SendCoins>),
    SendMany(Box<chain_payments::SendMany>),
    EstimateFee(chain_payments::EstimateFee),
    ListChainTxns(chain_transactions::ListChainTxns),
    ListUnspent(chain_transactions::ListUnspent),
    Wallet(wallet_kit::Wallet),
}

impl OnChainCommand {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self {
            Self::WalletBalance(command) => command.run(node).await,
            Self::NewAddress(command) => command.run(node).await,
            Self::SendCoins(command) => command.run(node).await,
            Self::SendMany(command) => command.run(node).await,
            Self::EstimateFee(command) => command.run(node).await,
            Self::ListChainTxns(command) => command.run(node).await,
            Self::ListUnspent(command) => command.run(node).await,
            Self::Wallet(command) => command.run(node).await,
        }
    }
}

/// Peers and channels.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum ChannelCommand {
    Connect(peers::Connect),
    Disconnect(peers::Disconnect),
    ListPeers(peers::ListPeers),
    OpenChannel(Box<open_channel::OpenChannel>),
    CloseChannel(Box<close_channel::CloseChannel>),
    CloseAllChannels(close_all::CloseAllChannels),
    ChannelBalance(channels::ChannelBalance),
    ListChannels(channels::ListChannels),
    PendingChannels(channels::PendingChannels),
    ClosedChannels(channels::ClosedChannels),
    ExportChanBackup(channels::ExportChanBackup),
}

impl ChannelCommand {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self {
            Self::Connect(command) => command.run(node).await,
            Self::Disconnect(command) => command.run(node).await,
            Self::ListPeers(command) => command.run(node).await,
            Self::OpenChannel(command) => command.run(node).await,
            Self::CloseChannel(command) => command.run(node).await,
            Self::CloseAllChannels(command) => command.run(node).await,
            Self::ChannelBalance(command) => command.run(node).await,
            Self::ListChannels(command) => command.run(node).await,
            Self::PendingChannels(command) => command.run(node).await,
            Self::ClosedChannels(command) => command.run(node).await,
            Self::ExportChanBackup(command) => command.run(node).await,
        }
    }
}

/// The graph, forwarding and messages.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum NetworkCommand {
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
}

impl NetworkCommand {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self {
            Self::GetNodeInfo(command) => command.run(node).await,
            Self::GetChanInfo(command) => command.run(node).await,
            Self::GetNetworkInfo(command) => command.run(node).await,
            Self::DescribeGraph(command) => command.run(node).await,
            Self::FeeReport(command) => command.run(node).await,
            Self::FwdingHistory(command) => command.run(node).await,
            Self::UpdateChanPolicy(command) => command.run(node).await,
            Self::SignMessage(command) => command.run(node).await,
            Self::VerifyMessage(command) => command.run(node).await,
            Self::SendCustom(command) => command.run(node).await,
            Self::SubscribeCustom(command) => command.run(node).await,
        }
    }
}

/// The running daemon.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum DaemonCommand {
    Version(daemon::Version),
    State(daemon::State),
    DebugLevel(daemon::DebugLevel),
    ListAliases(daemon::ListAliases),
}

impl DaemonCommand {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self {
            Self::Version(command) => command.run(node).await,
            Self::State(command) => command.run(node).await,
            Self::DebugLevel(command) => command.run(node).await,
            Self::ListAliases(command) => command.run(node).await,
        }
    }
}

/// Invoices.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum InvoiceCommand {
    AddInvoice(Box<invoices::AddInvoice>),
    DecodePayReq(invoices::DecodePayReq),
    LookupInvoice(invoice_lookup::LookupInvoice),
    ListInvoices(invoice_lookup::ListInvoices),
    CancelInvoice(cancel_invoice::CancelInvoice),
    DeleteCanceledInvoice(cancel_invoice::DeleteCanceledInvoice),
    AddHoldInvoice(Box<hold_invoices::AddHoldInvoice>),
    SettleInvoice(hold_invoices::SettleInvoice),
    SubscribeInvoices(invoice_events::SubscribeInvoices),
    SubscribeInvoice(invoice_events::SubscribeInvoice),
    InvoicePayments(Box<invoice_payments::InvoicePayments>),
    DisableInvoice(invoice_payments::DisableInvoice),
    EnableInvoice(invoice_payments::EnableInvoice),
    Donations(donations::Donations),
}

impl InvoiceCommand {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self {
            Self::AddInvoice(command) => command.run(node).await,
            Self::DecodePayReq(command) => command.run(node).await,
            Self::LookupInvoice(command) => command.run(node).await,
            Self::ListInvoices(command) => command.run(node).await,
            Self::CancelInvoice(command) => command.run(node).await,
            Self::DeleteCanceledInvoice(command) => command.run(node).await,
            Self::AddHoldInvoice(command) => command.run(node).await,
            Self::SettleInvoice(command) => command.run(node).await,
            Self::SubscribeInvoices(command) => command.run(node).await,
            Self::SubscribeInvoice(command) => command.run(node).await,
            Self::InvoicePayments(command) => command.run(node).await,
            Self::DisableInvoice(command) => command.run(node).await,
            Self::EnableInvoice(command) => command.run(node).await,
            Self::Donations(command) => command.run(node).await,
        }
    }
}

/// Payments and routes.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum PaymentCommand {
    SendPayment(Box<pay::SendPayment>),
    PayInvoice(Box<pay::PayInvoice>),
    TrackPayment(payments::TrackPayment),
    ListPayments(payments::ListPayments),
    DeletePayments(delete_payments::DeletePayments),
    QueryRoutes(Box<routes::QueryRoutes>),
    BuildRoute(routes::BuildRoute),
    SendToRoute(send_to_route::SendToRoute),
    EstimateRouteFee(routes::EstimateRouteFee),
}

impl PaymentCommand {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self {
            Self::SendPayment(command) => command.run(node).await,
            Self::PayInvoice(command) => command.run(node).await,
            Self::TrackPayment(command) => command.run(node).await,
            Self::ListPayments(command) => command.run(node).await,
            Self::DeletePayments(command) => command.run(node).await,
            Self::QueryRoutes(command) => command.run(node).await,
            Self::BuildRoute(command) => command.run(node).await,
            Self::SendToRoute(command) => command.run(node).await,
            Self::EstimateRouteFee(command) => command.run(node).await,
        }
    }
}

/// Macaroons that the node issues.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum MacaroonCommand {
    BakeMacaroon(macaroons::BakeMacaroon),
    ListMacaroonIds(macaroons::ListMacaroonIds),
    DeleteMacaroonId(macaroons::DeleteMacaroonId),
    ListPermissions(macaroons::ListPermissions),
}

impl MacaroonCommand {
    async fn run(self, node: &mut Node) -> Result<(), CliError> {
        match self {
            Self::BakeMacaroon(command) => command.run(node).await,
            Self::ListMacaroonIds(command) => command.run(node).await,
            Self::DeleteMacaroonId(command) => command.run(node).await,
            Self::ListPermissions(command) => command.run(node).await,
        }
    }
}

/// Commands that run without a node.
#[derive(Debug, Subcommand)]
#[command(rename_all = "lowercase")]
pub(super) enum Offline {
    Qr(qr::Qr),
    PrintMacaroon(macaroon_files::PrintMacaroon),
    ConstrainMacaroon(macaroon_files::ConstrainMacaroon),
    LndConnect(lndconnect::LndConnect),
    Completion(completion::Completion),
    Man(completion::Man),
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
