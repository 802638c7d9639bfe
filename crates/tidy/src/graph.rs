//! Cycles in a graph.

use std::collections::{BTreeMap, BTreeSet};

/// Nodes by name, each with those that it points to.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The sets of nodes that reach each other, without those of one node.
pub(crate) fn cycles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<_, _> = graph
        .keys()
        .map(|node| (node, reachable(graph, node)))
        .collect();
    let mut cycles = BTreeSet::new();
    for (node, from_here) in &reached {
        let mut cycle: BTreeSet<String> = from_here
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(*node)))
            .cloned()
            .collect();
        if from_here.contains(*node) {
            cycle.insert((*node).clone());
            cycles.insert(cycle);
        }
    }
    cycles.into_iter().collect()
}

/// The nodes that can be reached from this one in one or more steps.
fn reachable(graph: &Graph, start: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        for next in graph.get(node).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        graph
    }

    #[test]
    fn a_chain_has_no_cycle() {
        assert!(cycles(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
    }

    #[test]
    fn each_cycle_is_found_once() {
        let found = cycles(&graph(&[
            ("a", "b"),
            ("b", "c"),
            ("c", "b"),
            ("d", "e"),
            ("e", "d"),
        ]));
        let cycle = |names: [&str; 2]| names.map(str::to_owned).into();
        assert_eq!(found, [cycle(["b", "c"]), cycle(["d", "e"])]);
    }
}
