//! The `Router` service: sending, tracking and estimating payments.

mod build_route;
mod estimate_fee;
mod follow;
mod htlc_events;
mod request;
mod send_to_route;
mod track_all;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::follow::{Updates, follow};
use crate::rpc::Context;
use crate::rpc::convert::parse::hash;
use crate::rpc::transport::streams::{Answers, unless_stopped};
use lnd_api::proto::lnrpc::{HtlcAttempt, Payment};
use lnd_api::proto::routerrpc::router_server::Router;
use lnd_api::proto::routerrpc::{
    BuildRouteRequest, BuildRouteResponse, HtlcEvent, RouteFeeRequest, RouteFeeResponse,
    SendPaymentRequest, SendToRouteRequest, SubscribeHtlcEventsRequest, TrackPaymentRequest,
    TrackPaymentsRequest,
};

/// Implements lnd's `Router` service.
pub(in crate::rpc) struct RouterService {
    context: Arc<Context>,
    /// Cancelled when the RPC server stops.
    stop: CancellationToken,
}

impl RouterService {
    pub(in crate::rpc) fn new(context: Arc<Context>, stop: CancellationToken) -> Self {
        Self { context, stop }
    }
}

#[tonic::async_trait]
impl Router for RouterService {
    type SendPaymentV2Stream = Answers<Payment>;
    type TrackPaymentV2Stream = Answers<Payment>;
    type TrackPaymentsStream = Answers<Payment>;
    type SubscribeHtlcEventsStream = Answers<HtlcEvent>;

    async fn send_payment_v2(
        &self,
        request: Request<SendPaymentRequest>,
    ) -> Result<Response<Self::SendPaymentV2Stream>, Status> {
        let request = request.into_inner();
        let (only_last, cancelable) = (request.no_inflight_updates, request.cancelable);
        let payment = request::read(
            request,
            self.context.node.network,
            self.context.node.cltv_delta,
        )?;
        let payments = &self.context.payments;
        let views = payments.send(payment).await?;
        let updates = Updates::of_new(only_last);
        let tied_to_stream = cancelable.then(|| payments.clone());
        let answers = follow(self.stop.clone(), views, updates, tied_to_stream);
        Ok(Response::new(answers))
    }

    async fn track_payment_v2(
        &self,
        request: Request<TrackPaymentRequest>,
    ) -> Result<Response<Self::TrackPaymentV2Stream>, Status> {
        let request = request.into_inner();
        let identifier = hash(&request.payment_hash)?;
        let found = self.context.payments.track(&identifier)?;
        let views = found.ok_or_else(|| Status::not_found("payment isn't initiated"))?;
        let updates = Updates::of_known(request.no_inflight_updates);
        Ok(Response::new(follow(
            self.stop.clone(),
            views,
            updates,
            None,
        )))
    }

    async fn track_payments(
        &self,
        request: Request<TrackPaymentsRequest>,
    ) -> Result<Response<Self::TrackPaymentsStream>, Status> {
        let only_last = request.into_inner().no_inflight_updates;
        let updates = self.context.payments.track_all();
        let answers = track_all::follow(self.stop.clone(), updates, only_last);
        Ok(Response::new(answers))
    }

    async fn estimate_route_fee(
        &self,
        request: Request<RouteFeeRequest>,
    ) -> Result<Response<RouteFeeResponse>, Status> {
        let estimating = estimate_fee::estimate(self.context.clone(), request.into_inner());
        unless_stopped(&self.stop, estimating)
            .await
            .map(Response::new)
    }

    async fn send_to_route_v2(
        &self,
        request: Request<SendToRouteRequest>,
    ) -> Result<Response<HtlcAttempt>, Status> {
        let sending = send_to_route::send(&self.context, request.into_inner());
        unless_stopped(&self.stop, sending).await.map(Response::new)
    }

    async fn build_route(
        &self,
        request: Request<BuildRouteRequest>,
    ) -> Result<Response<BuildRouteResponse>, Status> {
        self.context.read(request, build_route::build).await
    }

    async fn subscribe_htlc_events(
        &self,
        _: Request<SubscribeHtlcEventsRequest>,
    ) -> Result<Response<Self::SubscribeHtlcEventsStream>, Status> {
        let answers = htlc_events::follow(&self.context.channels, self.stop.clone());
        Ok(Response::new(answers))
    }
}
