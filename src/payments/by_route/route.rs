//! A caller's route: whether it makes sense, and what LDK makes of it.
//!
//! lnd describes a hop by what its node is told: the channel that leads to it, what it is to forward
//! and with which expiry. LDK describes it by what its node keeps: a fee and a number of blocks.

use std::collections::HashSet;

use bitcoin::hex::DisplayHex;
use bitcoin::secp256k1::PublicKey;
use lightning::routing::router::{Path, RouteHop};
use lightning_types::features::{ChannelFeatures, NodeFeatures};

use crate::storage::payments::HopRecord;

/// LDK's limit; an onion packet holds hardly more.
const MOST_HOPS: usize = 20;

/// One hop as lnd's `Hop` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenHop {
    pub node: PublicKey,
    /// Of the channel that leads to the node.
    pub scid: u64,
    /// What the node is told to forward; for the last one, to keep.
    pub forward_msat: u64,
    /// The block height that the node is told for the HTLC that it sends on; for the last one, that
    /// of the HTLC that it gets.
    pub expiry: u32,
}

/// A route as lnd's `Route` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenRoute {
    /// Of the first HTLC.
    pub total_msat: u64,
    /// Expiry of the first HTLC, a block height.
    pub total_time_lock: u32,
    pub hops: Vec<GivenHop>,
}

/// A route that no HTLC can take. Hops count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("empty route hops provided")]
    NoHops,
    #[error("route has too many hops")]
    TooManyHops,
    #[error("the route delivers nothing: amt_to_forward_msat of the last hop is 0")]
    NoAmount,
    #[error("hop {hop} is to forward {forward_msat} msat, but gets only {gets_msat} msat")]
    NegativeFee {
        hop: usize,
        forward_msat: u64,
        gets_msat: u64,
    },
    #[error("hop {hop} is to forward with expiry {expiry}, but gets expiry {gets} only")]
    NegativeDelta { hop: usize, expiry: u32, gets: u32 },
    /// LDK tells the receiver the amount and the expiry of its HTLC, nothing else.
    #[error(
        "the last hop gets {gets_msat} msat with expiry {gets_expiry}: its amt_to_forward_msat and \
         expiry have to be the same"
    )]
    LastHop { gets_msat: u64, gets_expiry: u32 },
    #[error("expiry {expiry} of the last hop is too soon at block height {height}")]
    TooSoon { expiry: u32, height: u32 },
    #[error("hop {0} is this node: a route may only end here")]
    ThroughUs(usize),
    #[error("channel {0} is in the route twice")]
    ChannelTwice(u64),
}

impl GivenRoute {
    /// What the receiver gets, msat.
    pub(super) fn amount_msat(&self) -> u64 {
        self.hops.last().map_or(0, |hop| hop.forward_msat)
    }

    /// The receiver's key in hex.
    pub(super) fn destination(&self) -> String {
        let last = self.hops.last();
        last.map(|hop| hop.node.serialize().to_lower_hex_string())
            .unwrap_or_default()
    }

    pub(super) fn first(&self) -> Result<&GivenHop, RouteError> {
        self.hops.first().ok_or(RouteError::NoHops)
    }

    pub(super) fn last(&self) -> Result<&GivenHop, RouteError> {
        self.hops.last().ok_or(RouteError::NoHops)
    }

    /// Whether an HTLC can take it at all.
    pub(super) fn check(&self, our_node_id: &PublicKey) -> Result<(), RouteError> {
        let last = self.last()?;
        if self.hops.len() > MOST_HOPS {
            return Err(RouteError::TooManyHops);
        }
        if last.forward_msat == 0 {
            return Err(RouteError::NoAmount);
        }
        self.check_steps()?;
        let forwarders = self.hops.iter().take(self.hops.len().saturating_sub(1));
        if let Some(position) = forwarders
            .into_iter()
            .position(|hop| hop.node == *our_node_id)
        {
            return Err(RouteError::ThroughUs(position + 1));
        }
        let mut channels = HashSet::new();
        match self.hops.iter().find(|hop| !channels.insert(hop.scid)) {
            Some(hop) => Err(RouteError::ChannelTwice(hop.scid)),
            None => Ok(()),
        }
    }

    /// Nobody forwards more, or for longer, than it gets; the last one keeps all.
    fn check_steps(&self) -> Result<(), RouteError> {
        let (mut gets_msat, mut gets) = (self.total_msat, self.total_time_lock);
        for (position, hop) in self.hops.iter().enumerate() {
            let (forward_msat, expiry) = (hop.forward_msat, hop.expiry);
            if forward_msat > gets_msat {
                return Err(RouteError::NegativeFee {
                    hop: position + 1,
                    forward_msat,
                    gets_msat,
                });
            }
            if expiry > gets {
                return Err(RouteError::NegativeDelta {
                    hop: position + 1,
                    expiry,
                    gets,
                });
            }
            let is_last = position + 1 == self.hops.len();
            if is_last && (forward_msat, expiry) != (gets_msat, gets) {
                return Err(RouteError::LastHop {
                    gets_msat,
                    gets_expiry: gets,
                });
            }
            (gets_msat, gets) = (forward_msat, expiry);
        }
        Ok(())
    }

    /// The hops as they are stored and shown.
    pub(super) fn records(&self) -> Vec<HopRecord> {
        let (mut gets_msat, mut gets) = (self.total_msat, self.total_time_lock);
        let record = |hop: &GivenHop| {
            let record = HopRecord {
                node_id: hop.node.serialize().to_lower_hex_string(),
                scid: hop.scid,
                amt_to_forward_msat: hop.forward_msat,
                fee_msat: gets_msat.saturating_sub(hop.forward_msat),
                expiry: hop.expiry,
                cltv_delta: gets.saturating_sub(hop.expiry),
                ..HopRecord::default()
            };
            (gets_msat, gets) = (hop.forward_msat, hop.expiry);
            record
        };
        self.hops.iter().map(record).collect()
    }

    /// LDK's path, which counts from the block after `height`. A block that comes before it is sent
    /// makes all expiries one later than asked for.
    pub(super) fn path(&self, height: u32) -> Result<Path, RouteError> {
        let expiry = self.last()?.expiry;
        let next = height.saturating_add(1);
        let final_delta = expiry.checked_sub(next).filter(|delta| *delta > 0);
        let final_delta = final_delta.ok_or(RouteError::TooSoon { expiry, height })?;
        let hop = |hop: &GivenHop, record: HopRecord| RouteHop {
            pubkey: hop.node,
            node_features: NodeFeatures::empty(),
            short_channel_id: hop.scid,
            channel_features: ChannelFeatures::empty(),
            fee_msat: record.fee_msat,
            cltv_expiry_delta: record.cltv_delta,
            maybe_announced_channel: true,
        };
        let records = self.records().into_iter();
        let mut hops: Vec<RouteHop> = self
            .hops
            .iter()
            .zip(records)
            .map(|(h, r)| hop(h, r))
            .collect();
        if let Some(last) = hops.last_mut() {
            // LDK has the delivered amount and the final delta there.
            last.fee_msat = self.amount_msat();
            last.cltv_expiry_delta = final_delta;
        }
        Ok(Path {
            hops,
            blinded_tail: None,
        })
    }
}

#[cfg(test)]
mod tests;
