//! Figures of a graph of channels: how far apart its nodes are, how large its channels.

use std::collections::HashMap;
use std::hash::Hash;

/// Channels as pairs of nodes, for questions about ways.
pub struct Ways {
    /// For each node the nodes at the other end of its channels.
    neighbours: Vec<Vec<usize>>,
}

impl Ways {
    /// `nodes` may have no channels; the ends of all channels must be among them.
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

    /// The most channels that a node has.
    pub fn max_degree(&self) -> usize {
        self.neighbours.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The longest of all shortest ways between two nodes that have one, in channels.
    pub fn diameter(&self) -> usize {
        let mut seen = vec![false; self.neighbours.len()];
        let mut longest = 0;
        for node in 0..self.neighbours.len() {
            if !seen[node] {
                let part = self.rings(node);
                part.iter().flatten().for_each(|node| seen[*node] = true);
                longest = longest.max(self.diameter_of(&part));
            }
        }
        longest
    }

    /// The diameter of a connected part, by the rings around its best connected node.
    ///
    /// Two nodes within ring `r` are at most `2r` apart. So the ends of a longer way are looked for
    /// from the outermost ring inwards, and most nodes of a real network are never started from.
    fn diameter_of(&self, part: &[Vec<usize>]) -> usize {
        let hub = part
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

    /// The nodes by their distance from this one, itself in the first ring.
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

/// How far the last of the rings is.
fn radius(rings: &[Vec<usize>]) -> usize {
    rings.len().saturating_sub(1)
}

/// The middle one, or the mean of the two in the middle, rounded down; 0 of none.
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

    /// Every node started from.
    fn slow_diameter(ways: &Ways) -> usize {
        let all = 0..ways.neighbours.len();
        all.map(|node| radius(&ways.rings(node))).max().unwrap_or(0)
    }

    #[test]
    fn a_line_is_as_long_as_its_channels() {
        let ways = Ways::new(0..5, [(0, 1), (1, 2), (2, 3), (3, 4)]);
        assert_eq!((ways.diameter(), ways.max_degree()), (4, 2));
    }

    #[test]
    fn parts_without_a_way_between_them_are_measured_alone() {
        let ways = Ways::new(
            0..9,
            [(0, 1), (0, 2), (0, 3), (0, 1), (5, 6), (6, 7), (7, 8)],
        );
        assert_eq!((ways.diameter(), ways.max_degree()), (3, 4));
        assert_eq!(Ways::new([1, 2], []).diameter(), 0);
        assert_eq!(Ways::new([0u8; 0], []).diameter(), 0);
    }

    proptest! {
        #[test]
        fn no_longer_way_is_missed(
            channels in prop::collection::vec((0usize..20, 0usize..20), 0..40),
        ) {
            let ways = Ways::new(0..20, channels);
            prop_assert_eq!(ways.diameter(), slow_diameter(&ways));
        }
    }

    #[test]
    fn median_is_lnds() {
        assert_eq!(median(vec![]), 0);
        assert_eq!(median(vec![5]), 5);
        assert_eq!(median(vec![9, 1]), 5);
        assert_eq!(median(vec![3, 1, 2]), 2);
        assert_eq!(median(vec![1, 2, 4, 5]), 3);
    }
}
