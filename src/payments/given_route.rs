//! Validating a given route and converting it for LDK.
//!
//! lnd describes a hop by what its node is told: the incoming channel, and the amount and expiry to
//! forward. LDK describes it by what the node keeps: a fee and a CLTV delta.

use std::collections::HashSet;

use bitcoin::hex::DisplayHex;
use bitcoin::secp256k1::PublicKey;
use lightning::routing::router::{Path, RouteHop};
use lightning_types::features::{ChannelFeatures, NodeFeatures};

use crate::model::attempt::HopRecord;

/// LDK's limit. An onion packet hardly has space for more hops.
const MAX_HOPS: usize = 20;

/// One hop, as in lnd's `Hop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenHop {
    pub node: PublicKey,
    /// The channel that leads to the node.
    pub scid: u64,
    /// The amount that the node is told to forward, in msat; for the last hop, the amount it
    /// receives.
    pub forward_msat: u64,
    /// The expiry (block height) that the node is told for its outgoing HTLC; for the last hop,
    /// that of the HTLC it receives.
    pub expiry: u32,
}

/// A route, as in lnd's `Route`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenRoute {
    /// The amount of the first HTLC, in msat.
    pub total_msat: u64,
    /// The expiry of the first HTLC, a block height.
    pub total_time_lock: u32,
    pub hops: Vec<GivenHop>,
}

/// Why a route cannot be used. Hops count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("empty route hops provided")]
    NoHops,
    #[error("route has too many hops")]
    TooManyHops,
    #[error("the route delivers nothing: amt_to_forward_msat of the last hop is 0")]
    NoAmount,
    #[error("hop {hop} is to forward {forward_msat} msat but receives only {gets_msat} msat")]
    NegativeFee {
        hop: usize,
        forward_msat: u64,
        gets_msat: u64,
    },
    #[error("hop {hop} is to forward with expiry {expiry} but receives expiry {gets}")]
    NegativeDelta { hop: usize, expiry: u32, gets: u32 },
    /// LDK tells the receiver the amount and expiry of its HTLC, nothing else.
    #[error(
        "the last hop receives {gets_msat} msat with expiry {gets_expiry}: set its amt_to_forward_msat \
         and expiry to these values"
    )]
    LastHop { gets_msat: u64, gets_expiry: u32 },
    #[error("expiry {expiry} of the last hop is too soon at block height {height}")]
    TooSoon { expiry: u32, height: u32 },
    #[error("hop {0} is this node, which may only be the last hop")]
    ThroughUs(usize),
    #[error("channel {0} appears twice in the route")]
    ChannelTwice(u64),
}

impl GivenRoute {
    /// The amount that the receiver gets, in msat.
    pub(super) fn amount_msat(&self) -> u64 {
        self.hops.last().map_or(0, |hop| hop.forward_msat)
    }

    /// The receiver's public key.
    pub(super) fn destination(&self) -> Option<PublicKey> {
        self.hops.last().map(|hop| hop.node)
    }

    pub(super) fn first(&self) -> Result<&GivenHop, RouteError> {
        self.hops.first().ok_or(RouteError::NoHops)
    }

    pub(super) fn last(&self) -> Result<&GivenHop, RouteError> {
        self.hops.last().ok_or(RouteError::NoHops)
    }

    /// Checks that an HTLC can use this route.
    pub(super) fn check(&self, our_node_id: &PublicKey) -> Result<(), RouteError> {
        let last = self.last()?;
        if self.hops.len() > MAX_HOPS {
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

    /// No hop may forward a larger amount or a later expiry than it receives; the last one keeps
    /// all.
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

    /// The hops as stored and shown.
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

    /// Converts it to LDK's path, whose deltas count from the block after `height`. If a block
    /// arrives before the HTLC is sent, all its expiries are one block later than requested.
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
            // LDK stores the delivered amount and the final CLTV delta in the last hop.
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
