//! Builds a route along given nodes (`BuildRoute`): picks channels and computes fees and expiries.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::routing::gossip::{ChannelUpdateInfo, NodeId};
use lightning::routing::router::{Path, RouteHop};
use lightning_types::features::{ChannelFeatures, NodeFeatures};

use super::finder::first_hops;
use super::query::NEXT_BLOCK;
use super::query_routes::Routes;

/// A request to build a route.
#[derive(Debug, Clone)]
pub struct RoutePlan {
    /// The nodes of the route in order, without us and with the receiver last.
    pub nodes: Vec<PublicKey>,
    /// The amount to deliver in msat; `None` for the smallest that the channels forward.
    pub amount_msat: Option<u64>,
    /// The final CLTV delta in blocks.
    pub final_cltv_delta: u32,
    /// The short channel id of our first channel; `None` for any.
    pub outgoing_channel: Option<u64>,
}

/// The reason a route cannot be built. The texts of `NoHops` and `NoChannel` are lnd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("no hops specified")]
    NoHops,
    /// No channel to the node with this index, counted from 0, can carry the amount.
    #[error("no matching outgoing channel available for node index {0}")]
    NoChannel(usize),
    #[error("the amount plus fees is too large")]
    TooLarge,
}

/// A channel between two nodes of the plan, with the policy of its sending node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    scid: u64,
    min_msat: u64,
    max_msat: u64,
    base_msat: u64,
    millionths: u64,
    cltv_delta: u32,
}

impl Link {
    /// Returns the sending node's fee in msat for forwarding this amount.
    fn fee_msat(&self, amount_msat: u64) -> Option<u64> {
        let proportional = u128::from(amount_msat) * u128::from(self.millionths) / 1_000_000;
        u64::try_from(proportional)
            .ok()?
            .checked_add(self.base_msat)
    }

    fn carries(&self, amount_msat: u64) -> bool {
        (self.min_msat..=self.max_msat).contains(&amount_msat)
    }
}

/// A hop's channel and the amount sent over it.
struct Leg {
    link: Link,
    amount_msat: u64,
}

impl Routes {
    /// Builds the route along the plan's nodes, using the cheapest channel between each pair of nodes.
    ///
    /// # Errors
    /// [`BuildError`] if there are no nodes, a channel is missing or the amount is too large.
    pub fn build(&self, plan: &RoutePlan) -> Result<Path, BuildError> {
        self.build_over(&self.manager.list_usable_channels(), plan)
    }

    fn build_over(
        &self,
        channels: &[ChannelDetails],
        plan: &RoutePlan,
    ) -> Result<Path, BuildError> {
        if plan.nodes.is_empty() {
            return Err(BuildError::NoHops);
        }
        let links = self.links(plan, channels)?;
        let amount_msat = match plan.amount_msat {
            Some(amount) => amount,
            None => smallest_msat(&links)?,
        };
        let legs = legs(&links, amount_msat)?;
        Ok(path(plan, &legs, amount_msat))
    }

    /// Returns, for each node, the channels that lead to it.
    fn links(
        &self,
        plan: &RoutePlan,
        channels: &[ChannelDetails],
    ) -> Result<Vec<Vec<Link>>, BuildError> {
        let wanted: Vec<u64> = plan.outgoing_channel.into_iter().collect();
        let ours = first_hops(&wanted, channels);
        let ids: Vec<NodeId> = plan.nodes.iter().map(NodeId::from_pubkey).collect();
        let mut links = Vec::new();
        for (position, node) in plan.nodes.iter().enumerate() {
            let to_node = match position.checked_sub(1) {
                None => own_links(node, &ours),
                Some(before) => self.public_links(&ids[before], &ids[position]),
            };
            if to_node.is_empty() {
                return Err(BuildError::NoChannel(position));
            }
            links.push(to_node);
        }
        Ok(links)
    }

    fn public_links(&self, from: &NodeId, to: &NodeId) -> Vec<Link> {
        let graph = self.graph.read_only();
        let scids = graph.node(from).map(|node| node.channels.clone());
        let link = |scid: u64| {
            let channel = graph.channel(scid)?;
            let update = if (&channel.node_one, &channel.node_two) == (from, to) {
                channel.one_to_two.as_ref()
            } else if (&channel.node_two, &channel.node_one) == (from, to) {
                channel.two_to_one.as_ref()
            } else {
                None
            };
            update
                .filter(|update| update.enabled)
                .map(|u| public_link(scid, u))
        };
        scids.into_iter().flatten().filter_map(link).collect()
    }
}

fn public_link(scid: u64, update: &ChannelUpdateInfo) -> Link {
    Link {
        scid,
        min_msat: update.htlc_minimum_msat,
        max_msat: update.htlc_maximum_msat,
        base_msat: update.fees.base_msat.into(),
        millionths: update.fees.proportional_millionths.into(),
        cltv_delta: update.cltv_expiry_delta.into(),
    }
}

/// Returns our channels with a peer. Sending over them costs no fee.
fn own_links(peer: &PublicKey, channels: &[&ChannelDetails]) -> Vec<Link> {
    let link = |channel: &&ChannelDetails| {
        Some(Link {
            scid: channel.get_outbound_payment_scid()?,
            min_msat: channel.next_outbound_htlc_minimum_msat,
            max_msat: channel.next_outbound_htlc_limit_msat,
            base_msat: 0,
            millionths: 0,
            cltv_delta: 0,
        })
    };
    channels
        .iter()
        .filter(|channel| channel.counterparty.node_id == *peer)
        .filter_map(link)
        .collect()
}

/// Returns the hops in order, with amounts accumulated from the receiver backwards.
fn legs(links: &[Vec<Link>], amount_msat: u64) -> Result<Vec<Leg>, BuildError> {
    let mut legs = Vec::new();
    let mut amount_msat = amount_msat;
    for (position, choice) in links.iter().enumerate().rev() {
        let cheapest = choice
            .iter()
            .filter(|link| link.carries(amount_msat))
            .min_by_key(|link| (link.fee_msat(amount_msat), std::cmp::Reverse(link.max_msat)));
        let link = cheapest.ok_or(BuildError::NoChannel(position))?.clone();
        let fee_msat = link.fee_msat(amount_msat).ok_or(BuildError::TooLarge)?;
        legs.push(Leg { link, amount_msat });
        amount_msat = amount_msat
            .checked_add(fee_msat)
            .ok_or(BuildError::TooLarge)?;
    }
    legs.reverse();
    Ok(legs)
}

/// Returns the smallest amount in msat that meets the minimum of every channel. Amounts only grow towards
/// us, so it lies between 1 msat and the largest minimum.
fn smallest_msat(links: &[Vec<Link>]) -> Result<u64, BuildError> {
    let minimum = |choice: &Vec<Link>| choice.iter().map(|link| link.min_msat).min();
    let minima: Vec<u64> = links.iter().filter_map(minimum).collect();
    let enough = |amount_msat: u64| {
        // From the receiver backwards, with the amount that each channel carries.
        let mut amount_msat = amount_msat;
        for (choice, min_msat) in links.iter().zip(&minima).rev() {
            if amount_msat < *min_msat {
                return false;
            }
            let fee = choice.iter().filter(|link| link.carries(amount_msat));
            let fee = fee.filter_map(|link| link.fee_msat(amount_msat)).min();
            amount_msat = amount_msat.saturating_add(fee.unwrap_or(0));
        }
        true
    };
    let (mut low, mut high) = (1, minima.iter().copied().max().unwrap_or(1).max(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// Converts the hops to an LDK path. LDK stores a forwarder's fee and delta, which belong to the channel
/// after it, with the forwarder, and the amount and final delta with the receiver. It counts blocks from the
/// next one.
fn path(plan: &RoutePlan, legs: &[Leg], amount_msat: u64) -> Path {
    let final_blocks = plan.final_cltv_delta.saturating_sub(NEXT_BLOCK);
    let hop = |(position, (leg, node)): (usize, (&Leg, &PublicKey))| {
        let next = legs.get(position + 1);
        RouteHop {
            pubkey: *node,
            node_features: NodeFeatures::empty(),
            short_channel_id: leg.link.scid,
            channel_features: ChannelFeatures::empty(),
            fee_msat: next.map_or(amount_msat, |next| {
                leg.amount_msat.saturating_sub(next.amount_msat)
            }),
            cltv_expiry_delta: next.map_or(final_blocks, |next| next.link.cltv_delta),
            maybe_announced_channel: true,
        }
    };
    Path {
        hops: legs.iter().zip(&plan.nodes).enumerate().map(hop).collect(),
        blinded_tail: None,
    }
}

#[cfg(test)]
mod tests;
