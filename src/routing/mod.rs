//! Routing: the network graph and its gossip, channel scores, and route finding.

mod announcers;
pub mod answers;
pub mod asked_route;
pub mod asker;
pub mod built_route;
pub mod channel_check;
pub mod checked_gossip;
pub mod figures;
pub mod finder;
pub mod forwarding_terms;
pub mod gossip_message;
pub mod graph;
mod into_payee;
mod not_over;
mod our_channels;
pub mod own_hints;
mod own_update;
pub mod patient_gossip;
pub mod payment_paths;
pub mod query;
mod refused_channels;
mod split;
pub mod syncer;
#[cfg(test)]
mod test_gossip;
pub mod view;
mod waiting_updates;

pub use finder::RouteFinder;
pub use our_channels::OurChannels;
pub use payment_paths::FailedChannel;
pub use query::{NoRoute, RouteQuery};
