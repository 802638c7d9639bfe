//! Routing: the network graph and its gossip, channel scores, and route finding.

mod announcers;
pub mod answers;
pub mod asker;
pub mod build_route;
pub mod channel_check;
pub mod checked_gossip;
pub mod edge;
pub mod finder;
pub mod forwarding_terms;
pub mod gossip_handler;
pub mod gossip_message;
pub mod graph;
pub mod graph_stats;
pub mod graph_view;
mod into_payee;
mod our_channels;
mod own_channels;
mod own_update;
pub mod payment_paths;
pub mod query;
pub mod query_routes;
mod refused_channels;
mod restrictions;
pub mod route_hints;
mod split;
pub mod syncer;
#[cfg(test)]
mod test_gossip;
mod waiting_updates;
pub mod whole_graph;

pub use finder::RouteFinder;
pub use our_channels::OurChannels;
pub use payment_paths::FailedChannel;
pub use query::{NoRoute, RouteQuery};
