//! The messages, clients and servers that `build.rs` generates from `proto/*.proto`.
#![allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)]

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// `ampdrpc`: what ampd has beyond lnd.
pub mod ampdrpc {
    tonic::include_proto!("ampdrpc");
}

/// lnd's `lnrpc`: the `Lightning` and `State` services and every message.
pub mod lnrpc {
    tonic::include_proto!("lnrpc");
}

/// lnd's `invoicesrpc`: the `Invoices` service.
pub mod invoicesrpc {
    tonic::include_proto!("invoicesrpc");
}

/// lnd's `routerrpc`: the `Router` service.
pub mod routerrpc {
    tonic::include_proto!("routerrpc");
}

/// lnd's `chainrpc`: the `ChainNotifier` service.
pub mod chainrpc {
    tonic::include_proto!("chainrpc");
}

/// lnd's `signrpc`: two of its messages.
pub mod signrpc {
    tonic::include_proto!("signrpc");
}

/// lnd's `walletrpc`: the `WalletKit` service.
pub mod walletrpc {
    tonic::include_proto!("walletrpc");
}

/// lnd's `verrpc`: the `Versioner` service.
pub mod verrpc {
    tonic::include_proto!("verrpc");
}

/// The descriptors of all of the above, an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The same, decoded.
pub static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // build.rs wrote these bytes; every test of a message decodes them.
    DescriptorPool::decode(DESCRIPTORS).expect("the descriptors of our own build are valid")
});
