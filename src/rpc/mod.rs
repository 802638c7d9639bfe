//! lnd's gRPC interface: names, numbers and behaviour are those of lnd 0.21.

pub mod proto;

/// The gRPC metadata key under which a client sends the token.
pub const TOKEN_HEADER: &str = "ampd-token";

/// Name of the file in the network's data directory that holds the token: hex text, mode 0600.
pub const TOKEN_FILE: &str = "rpc.token";
