//! lnd's API: the messages of its .proto files, gRPC clients and servers, and JSON as lncli and lnd's REST
//! interface write it.
//!
//! * [`proto`]: the generated messages, [`proto::POOL`] with their descriptors. The feature `client` adds the
//!   gRPC clients, `server` the servers; both are on by default.
//! * [`json`]: any message as JSON. [`to_json`] and [`from_json`] are lncli's variant, with bytes in hex, and
//!   [`channel_ids`] is what lncli changes in a list of channels.
//! * [`layout`]: names of files, networks and headers that every client of lnd knows.
//! * [`tlv`]: the numbers of custom TLV records that clients send.
//! * [`version`]: the version of lnd whose API this is.
//!
//! ampd's own service, `ampdrpc`, is among them: it is what ampd offers beyond lnd.
//!
//! ```
//! let balance = lnd_api::proto::lnrpc::WalletBalanceResponse {
//!     total_balance: 25_000,
//!     ..Default::default()
//! };
//! let json = lnd_api::to_json(&balance).expect("the message is one of these .proto files");
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
