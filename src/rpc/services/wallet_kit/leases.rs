//! LeaseOutput, ReleaseOutput, ListLeases: outputs that clients reserve.

use tonic::Status;

use crate::rpc::Context;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::on_chain::{outpoint, outpoint_message};
use crate::wallet::LeasedCoin;
use lnd_api::layout::lnd_lease_id;
use lnd_api::proto::walletrpc::{
    LeaseOutputRequest, LeaseOutputResponse, ListLeasesResponse, ReleaseOutputRequest,
    ReleaseOutputResponse, UtxoLease,
};

/// The default duration of a lease, in seconds (lnd).
pub(super) const DEFAULT_SECONDS: u64 = 600;

/// Leases an output; returns once the lease is on disk.
pub(super) async fn lease(
    context: &Context,
    request: &LeaseOutputRequest,
) -> Result<LeaseOutputResponse, Status> {
    let id = own_id(&request.id)?;
    let coin = outpoint(request.outpoint.as_ref())?;
    let seconds = seconds(request.expiration_seconds);
    let reserve = context.channels.reserve().required();
    let leased = context
        .funds
        .save(|wallet| wallet.lease(coin, id, seconds, reserve));
    let expiration = leased.await?;
    Ok(LeaseOutputResponse { expiration })
}

/// Releases a lease; returns once the release is on disk.
pub(super) async fn release(
    context: &Context,
    request: &ReleaseOutputRequest,
) -> Result<ReleaseOutputResponse, Status> {
    let id = id(&request.id)?;
    let coin = outpoint(request.outpoint.as_ref())?;
    let released = context.funds.save(|wallet| wallet.end_lease(coin, id));
    released.await?;
    Ok(ReleaseOutputResponse {
        status: format!("output {coin} released"),
    })
}

/// Lists the leases that have not expired.
pub(super) fn list(context: &Context) -> ListLeasesResponse {
    ListLeasesResponse {
        locked_utxos: context.wallet.leases().iter().map(message).collect(),
    }
}

/// Returns a lease in lnd's form.
pub(super) fn message(leased: &LeasedCoin) -> UtxoLease {
    UtxoLease {
        id: leased.lease.id.to_vec(),
        outpoint: Some(outpoint_message(leased.lease.coin)),
        expiration: leased.lease.expires_at,
        pk_script: leased.output.script_pubkey.to_bytes(),
        value: leased.output.value.to_sat(),
    }
}

/// Returns the duration of a lease in seconds; 0 means the default.
pub(super) fn seconds(given: u64) -> u64 {
    match given {
        0 => DEFAULT_SECONDS,
        given => given,
    }
}

fn id(bytes: &[u8]) -> Result<[u8; 32], Status> {
    bytes
        .try_into()
        .map_err(|_| refused("id must be 32 random bytes"))
}

/// Parses a lease id. As in lnd, its own id is reserved, but may be used to release an output.
fn own_id(bytes: &[u8]) -> Result<[u8; 32], Status> {
    match id(bytes)? {
        id if id == [0; 32] => Err(refused("id must be 32 random bytes")),
        id if id == lnd_lease_id() => Err(refused("reserved id cannot be used")),
        id => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hex::DisplayHex;

    use super::*;

    #[test]
    fn lease_ids_have_32_bytes_and_are_not_reserved() {
        assert_eq!(own_id(&[1; 32]).unwrap(), [1; 32]);
        for wrong in [vec![], vec![1; 31], vec![1; 33], vec![0; 32]] {
            let error = own_id(&wrong).unwrap_err();
            assert_eq!(error.message(), "id must be 32 random bytes");
        }
        let error = own_id(&lnd_lease_id()).unwrap_err();
        assert_eq!(error.message(), "reserved id cannot be used");
        assert!(id(&lnd_lease_id()).is_ok());
        // The id that lnd's clients send.
        let known = "ede19a92ed321a4705f8a1cccc1d4f6182545d4bb4fae08bd5937831b7e38f98";
        assert_eq!(lnd_lease_id().to_lower_hex_string(), known);
    }
}
