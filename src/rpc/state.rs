//! The `State` service. ampd serves callers once it is ready: who is answered is told so.

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::streams::{Answers, stream};
use lnd_api::proto::lnrpc::state_server::State;
use lnd_api::proto::lnrpc::{
    GetStateRequest, GetStateResponse, SubscribeStateRequest, SubscribeStateResponse, WalletState,
};

/// Needs no room.
pub(super) struct StateService {
    /// The server's end.
    stop: CancellationToken,
}

impl StateService {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { stop }
    }
}

#[tonic::async_trait]
impl State for StateService {
    type SubscribeStateStream = Answers<SubscribeStateResponse>;

    async fn get_state(
        &self,
        _: Request<GetStateRequest>,
    ) -> Result<Response<GetStateResponse>, Status> {
        Ok(Response::new(GetStateResponse {
            state: WalletState::ServerActive.into(),
        }))
    }

    /// The state, which does not change as long as callers are served.
    async fn subscribe_state(
        &self,
        _: Request<SubscribeStateRequest>,
    ) -> Result<Response<Self::SubscribeStateStream>, Status> {
        let answers = stream(self.stop.clone(), |writer| async move {
            let state = WalletState::ServerActive.into();
            writer.send(SubscribeStateResponse { state }).await;
            std::future::pending().await
        });
        Ok(Response::new(answers))
    }
}
