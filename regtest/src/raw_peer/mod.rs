//! A peer that sends arbitrary messages, for tests of what unknown peers can do to a node.
//!
//! It implements BOLT 8 and leaves everything above to the caller: any `init`, messages with any
//! content, a channel up to `funding_signed` without a funding transaction, announcements of
//! channels that do not exist. It keeps no state beyond its connection, so one process can act as
//! many peers.
//!
//! ```no_run
//! # use std::net::Ipv4Addr;
//! # use regtest::network::Network;
//! # use regtest::raw_peer::{kind, message, ChannelTerms, Identity, OpenResult, RawPeer, Target};
//! # async fn example(network: &Network) -> anyhow::Result<()> {
//! // Nodes of the network connect from 127.0.0.1; an attacker should use another address.
//! let target = Target::of(&network["victim"])?.from(Ipv4Addr::new(127, 0, 0, 66));
//! let identity = Identity::random();
//! let mut peer = RawPeer::connect(&target, &identity).await?;
//!
//! // Sends peer_storage ten thousand times, reading and discarding the responses.
//! let storage = message(kind::PEER_STORAGE, &[&[0, 10][..], &[0; 10]].concat());
//! peer.flood((0..10_000).map(|_| storage.clone())).await?;
//!
//! // A channel without a funding transaction, and the error that makes the node close it.
//! let terms = ChannelTerms::default();
//! match peer.open_unfunded_channel(&terms).await? {
//!     OpenResult::Signed(channel) => peer.send_error(channel, "no").await?,
//!     OpenResult::Refused(reason) => println!("{reason}"),
//! }
//! # Ok(())
//! # }
//! ```

mod channel;
mod cipher;
mod connection;
mod gossip;
mod messages;
mod noise;
mod target;

pub use channel::{ChannelTerms, OpenResult, Proposal};
pub use connection::{Flooded, RawPeer, Received};
pub use gossip::{forged_announcement, short_channel_id};
pub use messages::{default_init, encode, kind, message};
pub use target::{Identity, Target};
