//! The `State` service. ampd listens only once it is ready, so the state is always `SERVER_ACTIVE`.

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::rpc::transport::streams::{Answers, stream};
use lnd_api::proto::lnrpc::state_server::State;
use lnd_api::proto::lnrpc::{
    GetStateRequest, GetStateResponse, SubscribeStateRequest, SubscribeStateResponse, WalletState,
};

/// Implements lnd's `State` service.
pub(in crate::rpc) struct StateService {
    /// Cancelled when the RPC server stops.
    stop: CancellationToken,
}

impl StateService {
    pub(in crate::rpc) fn new(stop: CancellationToken) -> Self {
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

    /// Sends the state once; it does not change while the server runs.
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
