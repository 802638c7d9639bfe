//! GetNetworkInfo: statistics of the network graph.

use std::sync::Arc;

use tonic::Status;

use crate::routing::graph_stats::{Topology, median};
use crate::rpc::transport::streams::blocking;
use crate::rpc::{Context, signed};
use lnd_api::proto::lnrpc::NetworkInfo;

/// Returns statistics of the current graph, including our own unannounced channels.
pub(super) async fn get(context: Arc<Context>) -> Result<NetworkInfo, Status> {
    blocking(move || {
        let whole = context.graph.whole();
        let (mut ends, mut capacities) = (Vec::new(), Vec::new());
        whole.read_edges(true, |edge| {
            ends.push((edge.node_1, edge.node_2));
            capacities.extend(edge.capacity_sat);
        });
        let num_channels = ends.len();
        let topology = Topology::new(whole.nodes(), ends);
        Ok(figures(
            &topology,
            whole.num_nodes(),
            num_channels,
            capacities,
        ))
    })
    .await
}

/// Computes the statistics. `capacities` are in sat, of the channels whose capacity is known.
fn figures(
    topology: &Topology,
    num_nodes: usize,
    num_channels: usize,
    capacities: Vec<u64>,
) -> NetworkInfo {
    let total = capacities
        .iter()
        .fold(0, |sum: u64, sat| sum.saturating_add(*sat));
    NetworkInfo {
        graph_diameter: narrow(topology.diameter()),
        avg_out_degree: mean(count(num_channels).saturating_mul(2), num_nodes),
        max_out_degree: narrow(topology.max_degree()),
        num_nodes: narrow(num_nodes),
        num_channels: narrow(num_channels),
        total_network_capacity: signed(total),
        avg_channel_size: mean(total, capacities.len()),
        min_channel_size: signed(capacities.iter().min().copied().unwrap_or_default()),
        max_channel_size: signed(capacities.iter().max().copied().unwrap_or_default()),
        median_channel_size_sat: signed(median(capacities)),
        num_zombie_chans: 0,
    }
}

/// Sums in sat and channel counts are far below 2^53, up to which f64 is exact.
#[allow(clippy::cast_precision_loss)]
fn mean(sum: u64, of: usize) -> f64 {
    match of {
        0 => 0.0,
        of => sum as f64 / of as f64,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::test_recordings::{printed, recorded, without};

    /// The recorded network: seven channels between six nodes, four of the channels Bob's.
    #[test]
    fn statistics_match_lnd() {
        let [alice, bob, carol, dave, eve, frank] = [0, 1, 2, 3, 4, 5];
        let ends = [
            (alice, carol),
            (alice, dave),
            (alice, eve),
            (carol, bob),
            (dave, bob),
            (eve, bob),
            (bob, frank),
        ];
        let topology = Topology::new(0..6, ends);
        let mut capacities = vec![400_000; 6];
        capacities.push(300_000);
        let ours = printed(&figures(&topology, 6, 7, capacities));
        // lnd stops counting a node's channels at the first one it has already counted.
        assert_eq!(ours["max_out_degree"], 4);
        let differs = ["max_out_degree"];
        let lnd = recorded("getnetworkinfo.json");
        assert_eq!(without(ours, &differs), without(lnd, &differs));
    }

    #[test]
    fn empty_graph_has_zero_averages() {
        let topology = Topology::new([1], []);
        let info = figures(&topology, 1, 0, Vec::new());
        assert_eq!((info.avg_channel_size, info.avg_out_degree), (0.0, 0.0));
        assert_eq!(mean(0, 0), 0.0);
    }
}
