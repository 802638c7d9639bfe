//! The `WalletUnlocker` service. ampd's wallet is never locked, so every call returns lnd's error after an
//! unlock. It tells wallets and dashboards that try to unlock that this is not needed.

use tonic::{Request, Response, Status};

use crate::rpc::convert::errors::refused;
use lnd_api::proto::lnrpc::wallet_unlocker_server::WalletUnlocker;
use lnd_api::proto::lnrpc::{
    ChangePasswordRequest, ChangePasswordResponse, GenSeedRequest, GenSeedResponse,
    InitWalletRequest, InitWalletResponse, UnlockWalletRequest, UnlockWalletResponse,
};

/// Implements lnd's `WalletUnlocker` service; rejects every call.
pub(in crate::rpc) struct WalletUnlockerService;

/// The error, with lnd's text.
fn unlocked() -> Status {
    refused("wallet already unlocked, WalletUnlocker service is no longer available")
}

#[tonic::async_trait]
impl WalletUnlocker for WalletUnlockerService {
    async fn gen_seed(
        &self,
        _: Request<GenSeedRequest>,
    ) -> Result<Response<GenSeedResponse>, Status> {
        Err(unlocked())
    }

    async fn init_wallet(
        &self,
        _: Request<InitWalletRequest>,
    ) -> Result<Response<InitWalletResponse>, Status> {
        Err(unlocked())
    }

    async fn unlock_wallet(
        &self,
        _: Request<UnlockWalletRequest>,
    ) -> Result<Response<UnlockWalletResponse>, Status> {
        Err(unlocked())
    }

    async fn change_password(
        &self,
        _: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        Err(unlocked())
    }
}
