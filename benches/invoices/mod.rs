//! The parts of the benchmark `receiving`.

pub(crate) mod fixture;
pub(crate) mod node;
