//! Connections, TLS, the macaroon check, REST and streams: knows no call by name.

pub(in crate::rpc) mod auth;
pub(in crate::rpc) mod connection_slots;
pub(in crate::rpc) mod connections;
pub(in crate::rpc) mod events;
pub(in crate::rpc) mod macaroon_files;
pub(in crate::rpc) mod methods;
pub(in crate::rpc) mod rest;
pub(in crate::rpc) mod streams;
pub(in crate::rpc) mod tls;
