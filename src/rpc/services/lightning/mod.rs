//! The `Lightning` service. Each call's implementation is in the module of its family.

mod add_invoice;
mod aliases;
mod backups;
mod channel_acceptor;
mod channel_balance;
mod channel_events;
mod channel_policy;
mod channel_words;
mod close_channel;
mod closed_channels;
mod estimate_fee;
mod fee_report;
mod forwarding;
mod graph;
mod info;
mod invoices;
mod list_channels;
mod log_level;
mod macaroons;
mod messages;
mod network_info;
mod open_channel;
mod pay_req;
mod payments;
mod peer_events;
mod peers;
mod pending_channels;
mod query_routes;
pub(in crate::rpc) mod send_coins;
#[cfg(test)]
mod test_data;
pub(in crate::rpc) mod transactions;
pub(in crate::rpc) mod unspent;
pub(in crate::rpc) mod wallet;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::rpc::Context;
use crate::rpc::services::invoices::delete_canceled;
use crate::rpc::transport::auth::caveat_call;
use crate::rpc::transport::streams::{Answers, unless_stopped};
use lnd_api::proto::lnrpc::{self, lightning_server::Lightning};

/// Implements lnd's `Lightning` service.
pub(in crate::rpc) struct LightningService {
    context: Arc<Context>,
    /// Cancelled when the RPC server stops.
    stop: CancellationToken,
}

impl LightningService {
    pub(in crate::rpc) fn new(context: Arc<Context>, stop: CancellationToken) -> Self {
        Self { context, stop }
    }
}

/// The result of a call.
type Call<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Lightning for LightningService {
    type ChannelAcceptorStream = Answers<lnrpc::ChannelAcceptRequest>;
    type CloseChannelStream = Answers<lnrpc::CloseStatusUpdate>;
    type SubscribeInvoicesStream = Answers<lnrpc::Invoice>;
    type SubscribeTransactionsStream = Answers<lnrpc::Transaction>;

    type OpenChannelStream = Answers<lnrpc::OpenStatusUpdate>;
    type SubscribeChannelEventsStream = Answers<lnrpc::ChannelEventUpdate>;
    type SubscribePeerEventsStream = Answers<lnrpc::PeerEvent>;
    type SubscribeCustomMessagesStream = Answers<lnrpc::CustomMessage>;

    async fn get_info(
        &self,
        request: Request<lnrpc::GetInfoRequest>,
    ) -> Call<lnrpc::GetInfoResponse> {
        self.context.read(request, info::get_info).await
    }

    async fn stop_daemon(&self, _: Request<lnrpc::StopRequest>) -> Call<lnrpc::StopResponse> {
        Ok(Response::new(info::stop(&self.context)))
    }

    async fn wallet_balance(
        &self,
        request: Request<lnrpc::WalletBalanceRequest>,
    ) -> Call<lnrpc::WalletBalanceResponse> {
        self.context.read(request, wallet::balance).await
    }

    async fn new_address(
        &self,
        request: Request<lnrpc::NewAddressRequest>,
    ) -> Call<lnrpc::NewAddressResponse> {
        let address = wallet::new_address(&self.context, request.get_ref());
        address.await.map(Response::new)
    }

    async fn send_coins(
        &self,
        request: Request<lnrpc::SendCoinsRequest>,
    ) -> Call<lnrpc::SendCoinsResponse> {
        let sent = send_coins::send(&self.context, request.get_ref()).await;
        sent.map(Response::new)
    }

    async fn send_many(
        &self,
        request: Request<lnrpc::SendManyRequest>,
    ) -> Call<lnrpc::SendManyResponse> {
        let sent = send_coins::send_many(&self.context, request.get_ref()).await;
        sent.map(Response::new)
    }

    async fn estimate_fee(
        &self,
        request: Request<lnrpc::EstimateFeeRequest>,
    ) -> Call<lnrpc::EstimateFeeResponse> {
        self.context.read(request, estimate_fee::estimate).await
    }

    async fn get_transactions(
        &self,
        request: Request<lnrpc::GetTransactionsRequest>,
    ) -> Call<lnrpc::TransactionDetails> {
        self.context.read(request, transactions::list).await
    }

    async fn subscribe_transactions(
        &self,
        request: Request<lnrpc::GetTransactionsRequest>,
    ) -> Call<Self::SubscribeTransactionsStream> {
        let answers = transactions::follow(&self.context, self.stop.clone(), request.get_ref());
        answers.map(Response::new)
    }

    async fn list_unspent(
        &self,
        request: Request<lnrpc::ListUnspentRequest>,
    ) -> Call<lnrpc::ListUnspentResponse> {
        self.context.read(request, unspent::list).await
    }

    async fn connect_peer(
        &self,
        request: Request<lnrpc::ConnectPeerRequest>,
    ) -> Call<lnrpc::ConnectPeerResponse> {
        let connecting = peers::connect(&self.context, request.get_ref());
        unless_stopped(&self.stop, connecting)
            .await
            .map(Response::new)
    }

    async fn disconnect_peer(
        &self,
        request: Request<lnrpc::DisconnectPeerRequest>,
    ) -> Call<lnrpc::DisconnectPeerResponse> {
        peers::disconnect(&self.context, request.get_ref()).map(Response::new)
    }

    async fn list_peers(
        &self,
        _: Request<lnrpc::ListPeersRequest>,
    ) -> Call<lnrpc::ListPeersResponse> {
        Ok(Response::new(peers::list(&self.context)))
    }

    async fn open_channel_sync(
        &self,
        request: Request<lnrpc::OpenChannelRequest>,
    ) -> Call<lnrpc::ChannelPoint> {
        let opening = open_channel::open(&self.context, request.get_ref());
        unless_stopped(&self.stop, opening).await.map(Response::new)
    }

    async fn channel_acceptor(
        &self,
        answers: Request<tonic::Streaming<lnrpc::ChannelAcceptResponse>>,
    ) -> Call<Self::ChannelAcceptorStream> {
        let (stop, answers) = (self.stop.clone(), answers.into_inner());
        let asked = channel_acceptor::decide(&self.context, stop, answers);
        Ok(Response::new(asked))
    }

    async fn close_channel(
        &self,
        request: Request<lnrpc::CloseChannelRequest>,
    ) -> Call<Self::CloseChannelStream> {
        let closing = close_channel::close(&self.context, &self.stop, request.get_ref());
        unless_stopped(&self.stop, closing).await.map(Response::new)
    }

    async fn channel_balance(
        &self,
        request: Request<lnrpc::ChannelBalanceRequest>,
    ) -> Call<lnrpc::ChannelBalanceResponse> {
        self.context.read(request, channel_balance::sum).await
    }

    async fn list_channels(
        &self,
        request: Request<lnrpc::ListChannelsRequest>,
    ) -> Call<lnrpc::ListChannelsResponse> {
        self.context.read(request, list_channels::list).await
    }

    async fn pending_channels(
        &self,
        request: Request<lnrpc::PendingChannelsRequest>,
    ) -> Call<lnrpc::PendingChannelsResponse> {
        self.context
            .read(request, |context, _| pending_channels::list(context))
            .await
    }

    async fn closed_channels(
        &self,
        request: Request<lnrpc::ClosedChannelsRequest>,
    ) -> Call<lnrpc::ClosedChannelsResponse> {
        self.context.read(request, closed_channels::list).await
    }

    async fn export_all_channel_backups(
        &self,
        _: Request<lnrpc::ChanBackupExportRequest>,
    ) -> Call<lnrpc::ChanBackupSnapshot> {
        backups::export_all(&self.context).map(Response::new)
    }

    async fn open_channel(
        &self,
        request: Request<lnrpc::OpenChannelRequest>,
    ) -> Call<Self::OpenChannelStream> {
        let stop = self.stop.clone();
        open_channel::open_and_follow(&self.context, stop, request.get_ref()).map(Response::new)
    }

    async fn get_node_info(
        &self,
        request: Request<lnrpc::NodeInfoRequest>,
    ) -> Call<lnrpc::NodeInfo> {
        let looking = graph::node_info(self.context.clone(), request.into_inner());
        unless_stopped(&self.stop, looking).await.map(Response::new)
    }

    async fn get_chan_info(
        &self,
        request: Request<lnrpc::ChanInfoRequest>,
    ) -> Call<lnrpc::ChannelEdge> {
        let looking = graph::chan_info(&self.context, request.get_ref());
        unless_stopped(&self.stop, looking).await.map(Response::new)
    }

    async fn get_network_info(
        &self,
        _: Request<lnrpc::NetworkInfoRequest>,
    ) -> Call<lnrpc::NetworkInfo> {
        network_info::get(self.context.clone())
            .await
            .map(Response::new)
    }

    async fn describe_graph(
        &self,
        request: Request<lnrpc::ChannelGraphRequest>,
    ) -> Call<lnrpc::ChannelGraph> {
        let reading = graph::describe(self.context.clone(), request.into_inner());
        unless_stopped(&self.stop, reading).await.map(Response::new)
    }

    async fn fee_report(
        &self,
        request: Request<lnrpc::FeeReportRequest>,
    ) -> Call<lnrpc::FeeReportResponse> {
        self.context.read(request, fee_report::report).await
    }

    async fn forwarding_history(
        &self,
        request: Request<lnrpc::ForwardingHistoryRequest>,
    ) -> Call<lnrpc::ForwardingHistoryResponse> {
        self.context.read(request, forwarding::history).await
    }

    async fn update_channel_policy(
        &self,
        request: Request<lnrpc::PolicyUpdateRequest>,
    ) -> Call<lnrpc::PolicyUpdateResponse> {
        channel_policy::update(&self.context, request.get_ref()).map(Response::new)
    }

    async fn sign_message(
        &self,
        request: Request<lnrpc::SignMessageRequest>,
    ) -> Call<lnrpc::SignMessageResponse> {
        messages::sign(&self.context, request.get_ref()).map(Response::new)
    }

    async fn verify_message(
        &self,
        request: Request<lnrpc::VerifyMessageRequest>,
    ) -> Call<lnrpc::VerifyMessageResponse> {
        messages::verify(&self.context, request.get_ref()).map(Response::new)
    }

    async fn subscribe_channel_events(
        &self,
        _: Request<lnrpc::ChannelEventSubscription>,
    ) -> Call<Self::SubscribeChannelEventsStream> {
        let answers = channel_events::follow(self.context.clone(), self.stop.clone());
        Ok(Response::new(answers))
    }

    async fn subscribe_peer_events(
        &self,
        _: Request<lnrpc::PeerEventSubscription>,
    ) -> Call<Self::SubscribePeerEventsStream> {
        let answers = peer_events::follow_peers(&self.context.peers, self.stop.clone());
        Ok(Response::new(answers))
    }

    async fn send_custom_message(
        &self,
        request: Request<lnrpc::SendCustomMessageRequest>,
    ) -> Call<lnrpc::SendCustomMessageResponse> {
        peer_events::send(&self.context, request.into_inner()).map(Response::new)
    }

    async fn subscribe_custom_messages(
        &self,
        _: Request<lnrpc::SubscribeCustomMessagesRequest>,
    ) -> Call<Self::SubscribeCustomMessagesStream> {
        let answers = peer_events::follow_messages(&self.context.peers, self.stop.clone());
        Ok(Response::new(answers))
    }

    async fn list_aliases(
        &self,
        _: Request<lnrpc::ListAliasesRequest>,
    ) -> Call<lnrpc::ListAliasesResponse> {
        Ok(Response::new(aliases::list(&self.context.channels)))
    }

    /// ampd has no recovery mode.
    async fn get_recovery_info(
        &self,
        _: Request<lnrpc::GetRecoveryInfoRequest>,
    ) -> Call<lnrpc::GetRecoveryInfoResponse> {
        Ok(Response::new(lnrpc::GetRecoveryInfoResponse::default()))
    }

    async fn debug_level(
        &self,
        request: Request<lnrpc::DebugLevelRequest>,
    ) -> Call<lnrpc::DebugLevelResponse> {
        log_level::set(&self.context.levels, request.get_ref()).map(Response::new)
    }

    async fn add_invoice(
        &self,
        request: Request<lnrpc::Invoice>,
    ) -> Call<lnrpc::AddInvoiceResponse> {
        let added = add_invoice::add(&self.context, request.into_inner()).await;
        added.map(Response::new)
    }

    async fn list_invoices(
        &self,
        request: Request<lnrpc::ListInvoiceRequest>,
    ) -> Call<lnrpc::ListInvoiceResponse> {
        self.context.read(request, invoices::list).await
    }

    async fn lookup_invoice(&self, request: Request<lnrpc::PaymentHash>) -> Call<lnrpc::Invoice> {
        self.context.read(request, invoices::lookup).await
    }

    async fn subscribe_invoices(
        &self,
        request: Request<lnrpc::InvoiceSubscription>,
    ) -> Call<Self::SubscribeInvoicesStream> {
        let events = self
            .context
            .read(request, invoices::subscribe)
            .await?
            .into_inner();
        let answers = invoices::follow(self.stop.clone(), events);
        Ok(Response::new(answers))
    }

    async fn delete_canceled_invoice(
        &self,
        request: Request<lnrpc::DelCanceledInvoiceReq>,
    ) -> Call<lnrpc::DelCanceledInvoiceResp> {
        delete_canceled(&self.context.invoices, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn decode_pay_req(&self, request: Request<lnrpc::PayReqString>) -> Call<lnrpc::PayReq> {
        pay_req::decode(&self.context, request.get_ref()).map(Response::new)
    }

    async fn list_payments(
        &self,
        request: Request<lnrpc::ListPaymentsRequest>,
    ) -> Call<lnrpc::ListPaymentsResponse> {
        self.context.read(request, payments::list).await
    }

    async fn delete_payment(
        &self,
        request: Request<lnrpc::DeletePaymentRequest>,
    ) -> Call<lnrpc::DeletePaymentResponse> {
        let deleted = payments::delete(&self.context, request.get_ref()).await;
        deleted.map(Response::new)
    }

    async fn delete_all_payments(
        &self,
        request: Request<lnrpc::DeleteAllPaymentsRequest>,
    ) -> Call<lnrpc::DeleteAllPaymentsResponse> {
        let deleting = payments::delete_all(&self.context, request.get_ref());
        unless_stopped(&self.stop, deleting)
            .await
            .map(Response::new)
    }

    async fn query_routes(
        &self,
        request: Request<lnrpc::QueryRoutesRequest>,
    ) -> Call<lnrpc::QueryRoutesResponse> {
        self.context.read(request, query_routes::find).await
    }

    async fn bake_macaroon(
        &self,
        request: Request<lnrpc::BakeMacaroonRequest>,
    ) -> Call<lnrpc::BakeMacaroonResponse> {
        let baked = macaroons::bake(&self.context, request.into_inner()).await;
        baked.map(Response::new)
    }

    async fn list_macaroon_i_ds(
        &self,
        _: Request<lnrpc::ListMacaroonIDsRequest>,
    ) -> Call<lnrpc::ListMacaroonIDsResponse> {
        Ok(Response::new(macaroons::ids(&self.context)))
    }

    async fn delete_macaroon_id(
        &self,
        request: Request<lnrpc::DeleteMacaroonIdRequest>,
    ) -> Call<lnrpc::DeleteMacaroonIdResponse> {
        let deleted = macaroons::delete(&self.context, request.get_ref()).await;
        deleted.map(Response::new)
    }

    async fn list_permissions(
        &self,
        _: Request<lnrpc::ListPermissionsRequest>,
    ) -> Call<lnrpc::ListPermissionsResponse> {
        Ok(Response::new(macaroons::permissions()))
    }

    async fn check_macaroon_permissions(
        &self,
        request: Request<lnrpc::CheckMacPermRequest>,
    ) -> Call<lnrpc::CheckMacPermResponse> {
        let call = caveat_call(request.extensions());
        macaroons::is_allowed(&self.context, request.get_ref(), &call).map(Response::new)
    }
}
