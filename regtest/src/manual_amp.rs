//! Manual AMP payments: the caller splits the root and sends each shard over a route of its choice.

use anyhow::{Context, Result};
use ldk_amp::{Child, Share, Splitter};
use lnd_api::proto::lnrpc::{AmpRecord, Hop, HtlcAttempt, MppRecord, Route};
use lnd_api::proto::routerrpc::{BuildRouteRequest, SendToRouteRequest};
use tonic::Status;

use crate::api::Api;

/// Shards that reconstruct a root share.
#[derive(Debug)]
pub struct Set {
    pub set_id: [u8; 32],
    pub address: [u8; 32],
    /// The total amount announced in every shard, in msat.
    pub total_msat: i64,
    pub shards: Vec<Shard>,
}

/// A shard of a [`Set`].
#[derive(Debug)]
pub struct Shard {
    pub share: [u8; 32],
    pub index: u32,
    pub hash: [u8; 32],
    pub preimage: [u8; 32],
}

impl Set {
    /// Creates shards of a random root with these child indices, for the invoice with this payment address.
    pub fn new(address: [u8; 32], total_msat: i64, indices: &[u32]) -> Result<Self> {
        let root = Share::from_bytes(random());
        let mut splitter = Splitter::new(root.clone());
        let mut shards = Vec::new();
        for (number, &index) in indices.iter().enumerate() {
            let is_last = number + 1 == indices.len();
            let share = splitter.next_shard(random(), index, is_last)?.share;
            let child = Child::derive(&root, &share, index);
            shards.push(Shard {
                share: share.to_bytes(),
                index,
                hash: child.hash.0,
                preimage: child.preimage.0,
            });
        }
        Ok(Self {
            set_id: random(),
            address,
            total_msat,
            shards,
        })
    }

    /// Returns the request that sends shard `number` over a route.
    ///
    /// # Errors
    /// If the shard does not exist, or the route has no hops.
    pub fn request(&self, number: usize, mut route: Route) -> Result<SendToRouteRequest> {
        let shard = self.shards.get(number).context("no such shard")?;
        let last = route.hops.last_mut().context("the route has no hops")?;
        last.mpp_record = Some(MppRecord {
            payment_addr: self.address.to_vec(),
            total_amt_msat: self.total_msat,
        });
        last.amp_record = Some(AmpRecord {
            root_share: shard.share.to_vec(),
            set_id: self.set_id.to_vec(),
            child_index: shard.index,
        });
        Ok(SendToRouteRequest {
            payment_hash: shard.hash.to_vec(),
            route: Some(route),
            ..Default::default()
        })
    }
}

/// 32 random bytes.
pub fn random() -> [u8; 32] {
    std::array::from_fn(|_| fastrand::u8(..))
}

impl Api {
    /// BuildRoute over the nodes with these public keys, the receiver last.
    pub async fn build_route(&self, keys: &[Vec<u8>], msat: i64) -> Result<Route> {
        let request = BuildRouteRequest {
            amt_msat: msat,
            hop_pubkeys: keys.to_vec(),
            ..Default::default()
        };
        let built = self.router.clone().build_route(request).await?;
        built
            .into_inner()
            .route
            .context("BuildRoute returned no route")
    }

    /// SendToRouteV2: returns once the HTLC is resolved.
    pub async fn send_to_route(&self, request: SendToRouteRequest) -> Result<HtlcAttempt, Status> {
        let sent = self.router.clone().send_to_route_v2(request).await?;
        Ok(sent.into_inner())
    }
}

/// The final hop of a request.
///
/// # Errors
/// If the request has no hops.
pub fn last_hop(request: &mut SendToRouteRequest) -> Result<&mut Hop> {
    let route = request.route.as_mut().context("the request has no route")?;
    route.hops.last_mut().context("the route has no hops")
}
