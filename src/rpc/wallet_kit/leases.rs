//! LeaseOutput, ReleaseOutput, ListLeases: coins that callers keep for themselves.

use tonic::Status;

use crate::rpc::Rooms;
use crate::rpc::errors::refused;
use crate::rpc::on_chain::{on_disk, outpoint, outpoint_message};
use crate::wallet::LeasedCoin;
use lnd_api::layout::lnd_lease_id;
use lnd_api::proto::walletrpc::{
    LeaseOutputRequest, LeaseOutputResponse, ListLeasesResponse, ReleaseOutputRequest,
    ReleaseOutputResponse, UtxoLease,
};

/// How long a lease lasts if the caller does not say (lnd).
pub(super) const DEFAULT_SECONDS: u64 = 600;

/// Answers when the lease is on disk.
pub(super) async fn lease(
    rooms: &Rooms,
    request: &LeaseOutputRequest,
) -> Result<LeaseOutputResponse, Status> {
    let id = own_id(&request.id)?;
    let coin = outpoint(request.outpoint.as_ref())?;
    let seconds = seconds(request.expiration_seconds);
    let lease = || {
        rooms
            .wallet
            .lease(coin, id, seconds, rooms.reserve.required())
    };
    let expiration = on_disk(&rooms.store, lease).await?;
    Ok(LeaseOutputResponse { expiration })
}

/// Answers when the lease is gone from the disk, too.
pub(super) async fn release(
    rooms: &Rooms,
    request: &ReleaseOutputRequest,
) -> Result<ReleaseOutputResponse, Status> {
    let id = id(&request.id)?;
    let coin = outpoint(request.outpoint.as_ref())?;
    on_disk(&rooms.store, || rooms.wallet.end_lease(coin, id)).await?;
    Ok(ReleaseOutputResponse {
        status: format!("output {coin} released"),
    })
}

/// Leases that have not ended.
pub(super) fn list(rooms: &Rooms) -> ListLeasesResponse {
    ListLeasesResponse {
        locked_utxos: rooms.wallet.leases().iter().map(message).collect(),
    }
}

/// A lease in lnd's words.
pub(super) fn message(leased: &LeasedCoin) -> UtxoLease {
    UtxoLease {
        id: leased.lease.id.to_vec(),
        outpoint: Some(outpoint_message(leased.lease.coin)),
        expiration: leased.lease.expires_at,
        pk_script: leased.output.script_pubkey.to_bytes(),
        value: leased.output.value.to_sat(),
    }
}

/// How long a lease is to last.
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

/// lnd keeps its own id to itself; to release with it is allowed.
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
    fn ids_are_32_bytes_and_not_those_of_lnd() {
        assert_eq!(own_id(&[1; 32]).unwrap(), [1; 32]);
        for wrong in [vec![], vec![1; 31], vec![1; 33], vec![0; 32]] {
            let error = own_id(&wrong).unwrap_err();
            assert_eq!(error.message(), "id must be 32 random bytes");
        }
        let error = own_id(&lnd_lease_id()).unwrap_err();
        assert_eq!(error.message(), "reserved id cannot be used");
        assert!(id(&lnd_lease_id()).is_ok());
        // What lnd's clients send.
        let known = "ede19a92ed321a4705f8a1cccc1d4f6182545d4bb4fae08bd5937831b7e38f98";
        assert_eq!(lnd_lease_id().to_lower_hex_string(), known);
    }
}
