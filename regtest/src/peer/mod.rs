//! Core Lightning and Eclair through interfaces of their own, with the same questions for both.
//!
//! What lnd has a message for is told as that message, so that the rest of this crate need not know
//! which program a node is.

mod core_lightning;
mod eclair;

use lnd_api::proto::lnrpc::{Channel, OpenChannelRequest};
use anyhow::Result;
use serde_json::Value;

pub use core_lightning::CoreLightning;
pub use eclair::Eclair;

/// Weight of a commitment transaction without HTLCs (BOLT 3): with anchors, and without.
const ANCHORS_WEIGHT: u64 = 1_124;
const PLAIN_WEIGHT: u64 = 724;
/// Both anchor outputs (BOLT 3).
const ANCHORS_SAT: u64 = 660;

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its public key in hex.
    pub key: String,
    /// Of the newest block that it knows.
    pub height: u32,
    pub synced_to_chain: bool,
}

/// How a payment by a peer ended.
#[derive(Clone, Debug)]
pub enum Paid {
    /// With this preimage, in hex.
    Succeeded(String),
    /// What the program said, as it said it.
    Failed(String),
}

/// One direction of a channel in the graph of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The short channel id, in the form `block x transaction x output`.
    pub channel: String,
    /// The public key, in hex, of the node whose channel_update it is.
    pub source: String,
}

/// The interface of a node that is neither ampd nor lnd. Clones ask the same node.
#[derive(Clone, Debug)]
pub enum PeerApi {
    CoreLightning(CoreLightning),
    Eclair(Eclair),
}

/// Asks the program that it is.
macro_rules! ask {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Self::CoreLightning(node) => node.$method($($argument),*).await,
            Self::Eclair(node) => node.$method($($argument),*).await,
        }
    };
}

impl PeerApi {
    /// Calls a method of the program's own interface, with named parameters.
    ///
    /// # Errors
    /// If it cannot be reached, or the program's own error in its own words.
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        ask!(self.call(method, parameters))
    }

    /// Its key and how far it is.
    pub async fn info(&self) -> Result<Info> {
        ask!(self.info())
    }

    /// A new address of its wallet.
    pub async fn address(&self) -> Result<String> {
        ask!(self.address())
    }

    /// What its wallet holds in confirmed outputs, in sat.
    pub async fn confirmed_sat(&self) -> Result<u64> {
        ask!(self.confirmed_sat())
    }

    /// Connects it to a node at `host:port`.
    pub async fn connect(&self, key: &str, address: &str) -> Result<()> {
        ask!(self.connect(key, address))
    }

    /// Ends its connection to a node.
    pub async fn disconnect(&self, key: &str) -> Result<()> {
        ask!(self.disconnect(key))
    }

    /// The keys of the nodes that it is connected to.
    pub async fn peers(&self) -> Result<Vec<String>> {
        ask!(self.peers())
    }

    /// Opens a channel and returns its channel point as `txid:index`. Of the request it takes the key,
    /// the amounts, `private` and `scid_alias`.
    pub async fn open(&self, request: &OpenChannelRequest) -> Result<String> {
        ask!(self.open(request))
    }

    /// Its channels that are open. Channel point, the peer's key, capacity, balances, `active`, `private`,
    /// `initiator` and the number of pending HTLCs are set.
    pub async fn channels(&self) -> Result<Vec<Channel>> {
        ask!(self.channels())
    }

    /// The sums of its open channels, in msat: its own balances, and those of the other ends. Openers have
    /// less by the cost of the commitment transaction.
    pub async fn balances_msat(&self) -> Result<(u64, u64)> {
        ask!(self.balances_msat())
    }

    /// How many channels wait for their funding.
    pub async fn opening(&self) -> Result<usize> {
        ask!(self.opening())
    }

    /// Closes a channel together with the other end.
    pub async fn close(&self, point: &str) -> Result<()> {
        ask!(self.close(point))
    }

    /// Publishes its commitment transaction.
    pub async fn force_close(&self, point: &str) -> Result<()> {
        ask!(self.force_close(point))
    }

    /// A BOLT 11 invoice over `msat`, or for any amount. `private` asks for route hints.
    pub async fn invoice(&self, msat: Option<u64>, private: bool) -> Result<String> {
        ask!(self.invoice(msat, private))
    }

    /// What was paid to its invoice with this payment hash (hex), in msat; `None` until it is paid.
    pub async fn received(&self, hash: &str) -> Result<Option<u64>> {
        ask!(self.received(hash))
    }

    /// Pays a BOLT 11 invoice, with `msat` if it names no amount, and waits for the end.
    pub async fn pay(&self, invoice: &str, msat: Option<u64>) -> Result<Paid> {
        ask!(self.pay(invoice, msat))
    }

    /// Pays `msat` to a public key (hex) without an invoice, and waits for the end.
    pub async fn keysend(&self, key: &str, msat: u64) -> Result<Paid> {
        ask!(self.keysend(key, msat))
    }

    /// All directions of channels whose channel_update it knows.
    pub async fn graph(&self) -> Result<Vec<Edge>> {
        ask!(self.graph())
    }
}

/// What the opener of a channel without HTLCs pays for the commitment transaction, in msat, with the
/// outputs of both anchors.
fn commitment_msat(sat_per_kw: u64, anchors: bool) -> u64 {
    let sat = if anchors {
        ANCHORS_WEIGHT * sat_per_kw / 1_000 + ANCHORS_SAT
    } else {
        PLAIN_WEIGHT * sat_per_kw / 1_000
    };
    sat * 1_000
}

/// The balances of both ends in msat, ours first, when the opener has paid for the commitment.
fn after_costs((local, remote): (u64, u64), is_opener: bool, cost: u64) -> (u64, u64) {
    if is_opener {
        (local.saturating_sub(cost), remote)
    } else {
        (local, remote.saturating_sub(cost))
    }
}
