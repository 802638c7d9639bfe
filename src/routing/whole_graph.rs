//! Reads all of the network graph without blocking gossip for long.
//!
//! The graph's lock is held while a few hundred channels or nodes are copied, and released before they are
//! converted and before the next ones are read. What is removed from the graph in the meantime is left out,
//! what is added is not read: each channel's ends are among the nodes.

use std::collections::BTreeSet;

use lightning::routing::gossip::{NodeAnnouncementInfo, NodeId};

use super::edge::Edge;
use super::own_channels::OwnChannels;
use crate::ldk::NetworkGraph;

/// The number of channels or nodes that are copied while the lock is held: a fraction of a millisecond.
const SLICE: usize = 250;

/// The channels and nodes that the graph had when they were listed, including our channels that are missing
/// from it.
pub struct WholeGraph<'a> {
    graph: &'a NetworkGraph,
    own: OwnChannels,
    /// In ascending order.
    announced: Vec<u64>,
    unannounced: Vec<u64>,
    nodes: BTreeSet<NodeId>,
}

impl<'a> WholeGraph<'a> {
    /// Lists the current channels and nodes for a node without channels.
    pub fn without_channels(graph: &'a NetworkGraph, us: NodeId) -> Self {
        Self::new(graph, OwnChannels::none(us))
    }

    /// Lists the current channels and nodes.
    pub(super) fn new(graph: &'a NetworkGraph, own: OwnChannels) -> Self {
        let view = graph.read_only();
        let mut announced: Vec<u64> = view.channels().unordered_keys().copied().collect();
        let nodes: Vec<NodeId> = view.nodes().unordered_keys().copied().collect();
        drop(view);
        announced.sort_unstable();
        let is_missing = |scid: &u64| announced.binary_search(scid).is_err();
        Self {
            unannounced: own.scids().filter(is_missing).collect(),
            nodes: nodes.into_iter().chain(own.nodes()).collect(),
            graph,
            own,
            announced,
        }
    }

    /// Returns the number of nodes.
    pub fn num_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Returns all nodes by node id.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().copied()
    }

    /// Passes each node to `read`, by node id, with its announcement if there is one.
    pub fn read_nodes(&self, mut read: impl FnMut(&NodeId, Option<&NodeAnnouncementInfo>)) {
        let all: Vec<&NodeId> = self.nodes.iter().collect();
        for slice in all.chunks(SLICE) {
            let view = self.graph.read_only();
            let announcement = |node: &&NodeId| view.node(node)?.announcement_info.clone();
            let announcements: Vec<_> = slice.iter().map(announcement).collect();
            drop(view);
            for (node, announcement) in slice.iter().zip(&announcements) {
                read(node, announcement.as_ref());
            }
        }
    }

    /// Passes each channel to `read`, by short channel id. `include_unannounced`: also our channels that are
    /// not announced (yet).
    pub fn read_edges(&self, include_unannounced: bool, mut read: impl FnMut(&Edge)) {
        let mut unannounced = match include_unannounced {
            true => self.unannounced.as_slice(),
            false => &[],
        };
        for slice in self.announced.chunks(SLICE) {
            let view = self.graph.read_only();
            let edge = |scid: &u64| Some(self.own.announced(*scid, view.channel(*scid)?));
            let edges: Vec<Edge> = slice.iter().filter_map(edge).collect();
            drop(view);
            for edge in &edges {
                let before = unannounced.partition_point(|scid| *scid < edge.scid);
                let (first, rest) = unannounced.split_at(before);
                self.read_own(first, &mut read);
                unannounced = rest;
                read(edge);
            }
        }
        self.read_own(unannounced, &mut read);
    }

    fn read_own(&self, scids: &[u64], read: &mut impl FnMut(&Edge)) {
        let edges = scids.iter().filter_map(|scid| self.own.edge(*scid));
        edges.for_each(|edge| read(&edge));
    }
}

#[cfg(test)]
mod tests;
