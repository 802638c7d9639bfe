//! The `WalletKit` service: detailed access to the on-chain wallet. Each call's implementation is in the
//! module of its family.

mod accounts;
mod bump;
mod keys;
mod leases;
mod psbt;
mod transactions;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::rpc::Context;
use crate::rpc::services::lightning::unspent;
use lnd_api::proto::signrpc::{KeyDescriptor, KeyLocator};
use lnd_api::proto::walletrpc::wallet_kit_server::WalletKit;
use lnd_api::proto::{lnrpc, walletrpc};

/// Implements lnd's `WalletKit` service.
pub(in crate::rpc) struct WalletKitService {
    context: Arc<Context>,
}

impl WalletKitService {
    pub(in crate::rpc) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

/// The result of a call.
type Call<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl WalletKit for WalletKitService {
    async fn list_unspent(
        &self,
        request: Request<walletrpc::ListUnspentRequest>,
    ) -> Call<walletrpc::ListUnspentResponse> {
        self.context.read(request, list_unspent).await
    }

    async fn lease_output(
        &self,
        request: Request<walletrpc::LeaseOutputRequest>,
    ) -> Call<walletrpc::LeaseOutputResponse> {
        let leased = leases::lease(&self.context, request.get_ref()).await;
        leased.map(Response::new)
    }

    async fn release_output(
        &self,
        request: Request<walletrpc::ReleaseOutputRequest>,
    ) -> Call<walletrpc::ReleaseOutputResponse> {
        let released = leases::release(&self.context, request.get_ref()).await;
        released.map(Response::new)
    }

    async fn list_leases(
        &self,
        request: Request<walletrpc::ListLeasesRequest>,
    ) -> Call<walletrpc::ListLeasesResponse> {
        self.context
            .read(request, |context, _| Ok(leases::list(context)))
            .await
    }

    async fn derive_key(&self, request: Request<KeyLocator>) -> Call<KeyDescriptor> {
        keys::derive(self.context.node.id, request.get_ref()).map(Response::new)
    }

    async fn next_addr(
        &self,
        request: Request<walletrpc::AddrRequest>,
    ) -> Call<walletrpc::AddrResponse> {
        let address = accounts::next_address(&self.context, request.get_ref());
        address.await.map(Response::new)
    }

    async fn get_transaction(
        &self,
        request: Request<walletrpc::GetTransactionRequest>,
    ) -> Call<lnrpc::Transaction> {
        self.context.read(request, transactions::get).await
    }

    async fn list_accounts(
        &self,
        request: Request<walletrpc::ListAccountsRequest>,
    ) -> Call<walletrpc::ListAccountsResponse> {
        accounts::list(&self.context, request.get_ref()).map(Response::new)
    }

    async fn required_reserve(
        &self,
        request: Request<walletrpc::RequiredReserveRequest>,
    ) -> Call<walletrpc::RequiredReserveResponse> {
        Ok(Response::new(accounts::reserve(
            &self.context,
            request.get_ref(),
        )))
    }

    async fn list_addresses(
        &self,
        request: Request<walletrpc::ListAddressesRequest>,
    ) -> Call<walletrpc::ListAddressesResponse> {
        self.context.read(request, accounts::addresses).await
    }

    async fn publish_transaction(
        &self,
        request: Request<walletrpc::Transaction>,
    ) -> Call<walletrpc::PublishResponse> {
        let published = transactions::publish(self.context.clone(), request.get_ref()).await;
        published.map(Response::new)
    }

    async fn estimate_fee(
        &self,
        request: Request<walletrpc::EstimateFeeRequest>,
    ) -> Call<walletrpc::EstimateFeeResponse> {
        transactions::estimate_fee(&self.context.fees, request.get_ref()).map(Response::new)
    }

    async fn bump_fee(
        &self,
        request: Request<walletrpc::BumpFeeRequest>,
    ) -> Call<walletrpc::BumpFeeResponse> {
        let bumped = bump::bump(&self.context, request.get_ref()).await;
        bumped.map(Response::new)
    }

    async fn label_transaction(
        &self,
        request: Request<walletrpc::LabelTransactionRequest>,
    ) -> Call<walletrpc::LabelTransactionResponse> {
        let labelled = transactions::label(&self.context, request.get_ref()).await;
        labelled.map(Response::new)
    }

    async fn fund_psbt(
        &self,
        request: Request<walletrpc::FundPsbtRequest>,
    ) -> Call<walletrpc::FundPsbtResponse> {
        let funded = psbt::fund(&self.context, request.into_inner()).await;
        funded.map(Response::new)
    }

    async fn sign_psbt(
        &self,
        request: Request<walletrpc::SignPsbtRequest>,
    ) -> Call<walletrpc::SignPsbtResponse> {
        self.context.read(request, psbt::sign).await
    }

    async fn finalize_psbt(
        &self,
        request: Request<walletrpc::FinalizePsbtRequest>,
    ) -> Call<walletrpc::FinalizePsbtResponse> {
        self.context.read(request, psbt::finalize).await
    }
}

fn list_unspent(
    context: &Context,
    request: &walletrpc::ListUnspentRequest,
) -> Result<walletrpc::ListUnspentResponse, Status> {
    let (least, most) = bounds(request)?;
    let utxos = unspent::between(context, least, most, &request.account)?;
    Ok(walletrpc::ListUnspentResponse { utxos })
}

/// Returns the confirmation bounds. Unlike in the `Lightning` service, leaving both unset lists all outputs.
fn bounds(request: &walletrpc::ListUnspentRequest) -> Result<(i32, i32), Status> {
    match (request.min_confs, request.max_confs) {
        (0, 0) if request.unconfirmed_only => Ok((0, 0)),
        _ if request.unconfirmed_only => Err(crate::rpc::convert::errors::refused(
            "min_confs and max_confs must be zero if unconfirmed_only is true",
        )),
        (least, 0) => Ok((least, i32::MAX)),
        bounds => Ok(bounds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_bounds_list_all_outputs() {
        let bounds = |min_confs, max_confs, unconfirmed_only| {
            bounds(&walletrpc::ListUnspentRequest {
                min_confs,
                max_confs,
                unconfirmed_only,
                ..Default::default()
            })
        };
        assert_eq!(bounds(0, 0, false).unwrap(), (0, i32::MAX));
        assert_eq!(bounds(3, 0, false).unwrap(), (3, i32::MAX));
        assert_eq!(bounds(1, 6, false).unwrap(), (1, 6));
        assert_eq!(bounds(0, 0, true).unwrap(), (0, 0));
        assert!(bounds(1, 0, true).is_err() && bounds(0, 1, true).is_err());
    }
}
