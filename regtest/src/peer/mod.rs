//! Core Lightning and Eclair through their own interfaces, with the same methods for both.
//!
//! Results use lnd's messages where they exist, so that the rest of this crate need not know which
//! program a node runs.

mod core_lightning;
mod eclair;

use anyhow::Result;
use lnd_api::proto::lnrpc::{Channel, OpenChannelRequest};
use serde_json::Value;

pub use core_lightning::CoreLightning;
pub use eclair::Eclair;

/// Weight of a commitment transaction without HTLCs (BOLT 3), with and without anchors.
const ANCHORS_WEIGHT: u64 = 1_124;
const PLAIN_WEIGHT: u64 = 724;
/// Both anchor outputs (BOLT 3).
const ANCHORS_SAT: u64 = 660;

/// Key and sync state of a node.
#[derive(Clone, Debug)]
pub struct Info {
    /// Public key in hex.
    pub key: String,
    /// Height of the best block that it knows.
    pub height: u32,
    pub synced_to_chain: bool,
}

/// Outcome of a payment sent by a peer.
#[derive(Clone, Debug)]
pub enum Paid {
    /// Succeeded with this preimage (hex).
    Succeeded(String),
    /// Failed with this message of the program.
    Failed(String),
}

/// One direction of a channel in a node's graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The short channel id in the form `BLOCKxTRANSACTIONxOUTPUT`.
    pub channel: String,
    /// The public key (hex) of the node that sent the channel_update.
    pub source: String,
}

/// The interface of a node that is neither ampd nor lnd. Clones use the same node.
#[derive(Clone, Debug)]
pub enum PeerApi {
    CoreLightning(CoreLightning),
    Eclair(Eclair),
}

/// Delegates to the client of the program.
macro_rules! ask {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Self::CoreLightning(node) => node.$method($($argument),*).await,
            Self::Eclair(node) => node.$method($($argument),*).await,
        }
    };
}

impl PeerApi {
    /// Calls a method of the program's own interface with named parameters.
    ///
    /// # Errors
    /// If it cannot be reached, or the program's own error.
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        ask!(self.call(method, parameters))
    }

    /// Its key and sync state.
    pub async fn info(&self) -> Result<Info> {
        ask!(self.info())
    }

    /// A new address of its wallet.
    pub async fn address(&self) -> Result<String> {
        ask!(self.address())
    }

    /// Its wallet's confirmed balance in sat.
    pub async fn confirmed_sat(&self) -> Result<u64> {
        ask!(self.confirmed_sat())
    }

    /// Connects it to a node at `host:port`.
    pub async fn connect(&self, key: &str, address: &str) -> Result<()> {
        ask!(self.connect(key, address))
    }

    /// Disconnects it from a node.
    pub async fn disconnect(&self, key: &str) -> Result<()> {
        ask!(self.disconnect(key))
    }

    /// The public keys of its connected peers.
    pub async fn peers(&self) -> Result<Vec<String>> {
        ask!(self.peers())
    }

    /// Opens a channel and returns its channel point as `txid:index`. Uses only the key, the amounts,
    /// `private` and `scid_alias` of the request.
    pub async fn open(&self, request: &OpenChannelRequest) -> Result<String> {
        ask!(self.open(request))
    }

    /// Its open channels. Sets channel point, the peer's key, capacity, balances, `active`, `private`,
    /// `initiator` and the number of pending HTLCs.
    pub async fn channels(&self) -> Result<Vec<Channel>> {
        ask!(self.channels())
    }

    /// Total local and remote balances of its open channels, in msat. The cost of the commitment
    /// transaction is deducted from the opener's balance.
    pub async fn balances_msat(&self) -> Result<(u64, u64)> {
        ask!(self.balances_msat())
    }

    /// Number of channels that wait for their funding transaction to confirm.
    pub async fn opening(&self) -> Result<usize> {
        ask!(self.opening())
    }

    /// Closes a channel cooperatively.
    pub async fn close(&self, point: &str) -> Result<()> {
        ask!(self.close(point))
    }

    /// Force-closes a channel.
    pub async fn force_close(&self, point: &str) -> Result<()> {
        ask!(self.force_close(point))
    }

    /// Creates a BOLT 11 invoice over `msat`, or for any amount. `private` asks for route hints.
    pub async fn invoice(&self, msat: Option<u64>, private: bool) -> Result<String> {
        ask!(self.invoice(msat, private))
    }

    /// Amount in msat received for its invoice with this payment hash (hex); `None` until it is paid.
    pub async fn received(&self, hash: &str) -> Result<Option<u64>> {
        ask!(self.received(hash))
    }

    /// Pays a BOLT 11 invoice, with `msat` if it has no amount, and waits for the outcome.
    pub async fn pay(&self, invoice: &str, msat: Option<u64>) -> Result<Paid> {
        ask!(self.pay(invoice, msat))
    }

    /// Pays `msat` to a public key (hex) without an invoice, and waits for the outcome.
    pub async fn keysend(&self, key: &str, msat: u64) -> Result<Paid> {
        ask!(self.keysend(key, msat))
    }

    /// All channel directions whose channel_update it knows.
    pub async fn graph(&self) -> Result<Vec<Edge>> {
        ask!(self.graph())
    }
}

/// The opener's cost in msat of the commitment transaction without HTLCs, including both anchor
/// outputs.
fn commitment_msat(sat_per_kw: u64, anchors: bool) -> u64 {
    let sat = if anchors {
        ANCHORS_WEIGHT * sat_per_kw / 1_000 + ANCHORS_SAT
    } else {
        PLAIN_WEIGHT * sat_per_kw / 1_000
    };
    sat * 1_000
}

/// Balances of both ends in msat, ours first, after deducting the opener's commitment cost.
fn after_costs((local, remote): (u64, u64), is_opener: bool, cost: u64) -> (u64, u64) {
    if is_opener {
        (local.saturating_sub(cost), remote)
    } else {
        (local, remote.saturating_sub(cost))
    }
}
