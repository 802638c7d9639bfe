//! The messages, clients and servers that `build.rs` generates from `proto/*.proto`.
#![allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)]

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// `ampdrpc`: ampd's own calls, which lnd does not have.
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

/// The descriptors of all messages and services above, as an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The decoded [`DESCRIPTORS`].
#[expect(
    clippy::expect_used,
    reason = "build.rs has written the bytes, and the tests decode them"
)]
pub static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // build.rs writes these bytes, and the tests decode them.
    DescriptorPool::decode(DESCRIPTORS).expect("descriptors written by build.rs are valid")
});
