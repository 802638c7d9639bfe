//! lnd's API: the messages of its .proto files, gRPC clients and servers, and the JSON of lncli and of lnd's
//! REST interface.
//!
//! * [`proto`]: the generated messages and, in [`proto::POOL`], their descriptors. The feature `client` adds
//!   the gRPC clients, `server` the gRPC servers; both are enabled by default.
//! * [`json`]: converts any message to JSON. [`to_json`] and [`from_json`] use lncli's variant with bytes in
//!   hex; [`channel_ids`] applies lncli's changes to a list of channels.
//! * [`layout`]: the names of files, networks and headers that lnd's clients rely on.
//! * [`tlv`]: the types of custom TLV records that clients send.
//! * [`version`]: the version of lnd whose API this is.
//!
//! The crate also contains `ampdrpc`, ampd's own service with calls that lnd does not have.
//!
//! ```
//! let balance = lnd_api::proto::lnrpc::WalletBalanceResponse {
//!     total_balance: 25_000,
//!     ..Default::default()
//! };
//! let json = lnd_api::to_json(&balance).expect("the message type is in the .proto files");
//! assert_eq!(json["total_balance"], "25000");
//! ```

mod from_json;
pub mod json;
pub mod layout;
mod lncli_json;
mod lncli_shape;
pub mod proto;
pub mod tlv;
pub mod version;

pub use from_json::from_json;
pub use lncli_json::to_json;
pub use lncli_shape::{channel_ids, txid};
