//! Statistics of a channel graph: diameter, maximum degree, median (for `GetNetworkInfo`).

use std::collections::HashMap;
use std::hash::Hash;

/// The topology of a channel graph.
pub struct Topology {
    /// For each node, the nodes at the other ends of its channels.
    neighbours: Vec<Vec<usize>>,
}

impl Topology {
    /// Builds the topology. Nodes without channels are allowed; channels with an end not among `nodes` are
    /// ignored.
    pub fn new<N: Eq + Hash>(
        nodes: impl IntoIterator<Item = N>,
        channels: impl IntoIterator<Item = (N, N)>,
    ) -> Self {
        let places: HashMap<N, usize> = nodes.into_iter().zip(0..).collect();
        let mut neighbours = vec![Vec::new(); places.len()];
        for (one, other) in channels {
            let (Some(&one), Some(&other)) = (places.get(&one), places.get(&other)) else {
                continue;
            };
            neighbours[one].push(other);
            neighbours[other].push(one);
        }
        Self { neighbours }
    }

    /// Returns the largest number of channels of any node.
    pub fn max_degree(&self) -> usize {
        self.neighbours.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Returns the longest of all shortest paths between connected nodes, in channels.
    pub fn diameter(&self) -> usize {
        let mut seen = vec![false; self.neighbours.len()];
        let mut longest = 0;
        for node in 0..self.neighbours.len() {
            if !seen[node] {
                let component = self.rings(node);
                component
                    .iter()
                    .flatten()
                    .for_each(|node| seen[*node] = true);
                longest = longest.max(self.diameter_of(&component));
            }
        }
        longest
    }

    /// Returns the diameter of a connected component, using the rings around its best connected node.
    ///
    /// Two nodes within ring `r` are at most `2r` apart. So the ends of a longer path are searched from the
    /// outermost ring inwards, and most nodes of a real network need no search of their own.
    fn diameter_of(&self, component: &[Vec<usize>]) -> usize {
        let hub = component
            .iter()
            .flatten()
            .max_by_key(|node| self.neighbours[**node].len());
        let Some(&hub) = hub else { return 0 };
        let rings = self.rings(hub);
        let mut longest = radius(&rings);
        for (distance, ring) in rings.iter().enumerate().rev() {
            if longest >= 2 * distance {
                break;
            }
            let farthest = ring.iter().map(|node| radius(&self.rings(*node))).max();
            longest = longest.max(farthest.unwrap_or(0));
        }
        longest
    }

    /// Returns the nodes grouped by distance from this one, which forms the first ring.
    fn rings(&self, from: usize) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.neighbours.len()];
        seen[from] = true;
        let mut rings = Vec::new();
        let mut ring = vec![from];
        while !ring.is_empty() {
            let mut next = Vec::new();
            for &neighbour in ring.iter().flat_map(|node| &self.neighbours[*node]) {
                if !std::mem::replace(&mut seen[neighbour], true) {
                    next.push(neighbour);
                }
            }
            rings.push(std::mem::replace(&mut ring, next));
        }
        rings
    }
}

/// Returns the distance of the outermost ring.
fn radius(rings: &[Vec<usize>]) -> usize {
    rings.len().saturating_sub(1)
}

/// Returns the median; the mean of the two middle values, rounded down, for an even number of values, and 0
/// for none.
pub fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let half = values.len() / 2;
    match (values.get(half.wrapping_sub(1)), values.get(half)) {
        (Some(below), Some(above)) if values.len().is_multiple_of(2) => below.midpoint(*above),
        (_, Some(middle)) => *middle,
        (_, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Computes the diameter with a search from every node.
    fn slow_diameter(topology: &Topology) -> usize {
        let all = 0..topology.neighbours.len();
        all.map(|node| radius(&topology.rings(node)))
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn diameter_of_a_line_is_its_number_of_channels() {
        let topology = Topology::new(0..5, [(0, 1), (1, 2), (2, 3), (3, 4)]);
        assert_eq!((topology.diameter(), topology.max_degree()), (4, 2));
    }

    #[test]
    fn disconnected_components_are_measured_separately() {
        let topology = Topology::new(
            0..9,
            [(0, 1), (0, 2), (0, 3), (0, 1), (5, 6), (6, 7), (7, 8)],
        );
        assert_eq!((topology.diameter(), topology.max_degree()), (3, 4));
        assert_eq!(Topology::new([1, 2], []).diameter(), 0);
        assert_eq!(Topology::new([0u8; 0], []).diameter(), 0);
    }

    proptest! {
        #[test]
        fn diameter_equals_that_of_an_exhaustive_search(
            channels in prop::collection::vec((0usize..20, 0usize..20), 0..40),
        ) {
            let topology = Topology::new(0..20, channels);
            prop_assert_eq!(topology.diameter(), slow_diameter(&topology));
        }
    }

    #[test]
    fn median_equals_lnds() {
        assert_eq!(median(vec![]), 0);
        assert_eq!(median(vec![5]), 5);
        assert_eq!(median(vec![9, 1]), 5);
        assert_eq!(median(vec![3, 1, 2]), 2);
        assert_eq!(median(vec![1, 2, 4, 5]), 3);
    }
}
