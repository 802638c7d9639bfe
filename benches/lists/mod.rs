//! The parts of the benchmark `growth`.

pub(crate) mod fill;
pub(crate) mod graph;
pub(crate) mod graph_calls;
pub(crate) mod nodes;
pub(crate) mod pages;
