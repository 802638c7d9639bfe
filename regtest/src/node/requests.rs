//! Requests that every node supports, whichever program it is.

use anyhow::Result;
use lnd_api::proto::lnrpc::{
    Channel, ConnectPeerRequest, LightningAddress, ListPeersRequest, OpenChannelRequest,
};

use super::{Client, Node};
use crate::channel_point::point_text;
use crate::peer::Info;

/// Connection timeout of ampd and lnd in seconds.
const CONNECT_SECONDS: u64 = 10;

impl Node {
    /// Returns its public key and sync state.
    pub async fn info(&self) -> Result<Info> {
        self.running()?.client.info().await
    }

    /// Returns a new address of its wallet.
    pub async fn address(&self) -> Result<String> {
        match &self.running()?.client {
            Client::Grpc { api, .. } => Ok(api.address().await?),
            Client::Peer(peer) => peer.address().await,
        }
    }

    /// Its wallet's confirmed balance in sat.
    pub async fn confirmed_sat(&self) -> Result<u64> {
        match &self.running()?.client {
            Client::Grpc { api, .. } => Ok(u64::try_from(api.wallet().await?.confirmed_balance)?),
            Client::Peer(peer) => peer.confirmed_sat().await,
        }
    }

    /// Connects to another node unless already connected.
    pub async fn connect(&self, other: &Self) -> Result<()> {
        let api = match &self.running()?.client {
            Client::Grpc { api, .. } => api,
            Client::Peer(peer) => return peer.connect(other.key(), &other.peer_address()).await,
        };
        let addr = LightningAddress {
            pubkey: other.key().to_owned(),
            host: other.peer_address(),
        };
        let request = ConnectPeerRequest {
            addr: Some(addr),
            perm: true,
            timeout: CONNECT_SECONDS,
        };
        match api.lightning.clone().connect_peer(request).await {
            Err(error) if !error.message().contains("already connected") => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The public keys of its connected peers.
    pub async fn peers(&self) -> Result<Vec<String>> {
        let api = match &self.running()?.client {
            Client::Grpc { api, .. } => api,
            Client::Peer(peer) => return peer.peers().await,
        };
        let request = ListPeersRequest::default();
        let listed = api.lightning.clone().list_peers(request).await?;
        let peers = listed.into_inner().peers.into_iter();
        Ok(peers.map(|peer| peer.pub_key).collect())
    }

    /// Opens a channel and returns its channel point as `txid:index`.
    pub async fn open_channel(&self, request: OpenChannelRequest) -> Result<String> {
        match &self.running()?.client {
            Client::Grpc { api, .. } => {
                let point = api.lightning.clone().open_channel_sync(request).await?;
                point_text(&point.into_inner())
            }
            Client::Peer(peer) => peer.open(&request).await,
        }
    }

    /// Its open channels; see [`crate::peer::PeerApi::channels`] for the fields that are set.
    pub async fn channels(&self) -> Result<Vec<Channel>> {
        match &self.running()?.client {
            Client::Grpc { api, .. } => Ok(api.channels().await?),
            Client::Peer(peer) => peer.channels().await,
        }
    }

    /// Total local and remote balances of its open channels, in msat.
    pub async fn balances_msat(&self) -> Result<(u64, u64)> {
        let api = match &self.running()?.client {
            Client::Grpc { api, .. } => api,
            Client::Peer(peer) => return peer.balances_msat().await,
        };
        let balance = api.balance().await?;
        Ok((
            balance.local_balance.unwrap_or_default().msat,
            balance.remote_balance.unwrap_or_default().msat,
        ))
    }

    /// Number of channels that wait for their funding transaction to confirm.
    pub async fn opening(&self) -> Result<usize> {
        match &self.running()?.client {
            Client::Grpc { api, .. } => Ok(api.pending().await?.pending_open_channels.len()),
            Client::Peer(peer) => peer.opening().await,
        }
    }
}
