//! All RPC methods with their options from the .proto files: the required permissions and the REST
//! paths.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{ExtensionDescriptor, MessageDescriptor, MethodDescriptor, Value};

use lnd_api::proto::POOL;

/// An RPC method.
pub(crate) struct Method {
    /// The gRPC path, such as `/lnrpc.Lightning/GetInfo`.
    pub path: String,
    pub request: MessageDescriptor,
    pub response: MessageDescriptor,
    /// The response is a stream.
    pub server_streaming: bool,
    /// The request is a stream.
    pub client_streaming: bool,
    /// The required permissions as (entity, action); if empty, no macaroon is needed.
    pub allow: Vec<(String, String)>,
    /// The REST routes as (verb, path).
    pub http: Vec<(String, String)>,
}

impl Method {
    /// Returns the permissions that a macaroon must have.
    pub(crate) fn required(&self) -> Vec<(&str, &str)> {
        let pairs = self.allow.iter();
        pairs
            .map(|(entity, action)| (&**entity, &**action))
            .collect()
    }
}

/// All methods, by gRPC path.
pub(crate) static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    let options = Options::of_our_protos();
    let services = POOL.services();
    services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| options.read(&method))
        .map(|method| (method.path.clone(), method))
        .collect()
});

/// ampd's two method options, from `proto/options.proto`.
struct Options {
    allow: Option<ExtensionDescriptor>,
    http: Option<ExtensionDescriptor>,
}

impl Options {
    fn of_our_protos() -> Self {
        Self {
            allow: POOL.get_extension_by_name("ampdrpc.allow"),
            http: POOL.get_extension_by_name("ampdrpc.http"),
        }
    }

    fn read(&self, method: &MethodDescriptor) -> Method {
        let service = method.parent_service().full_name();
        Method {
            path: format!("/{service}/{}", method.name()),
            request: method.input(),
            response: method.output(),
            server_streaming: method.is_server_streaming(),
            client_streaming: method.is_client_streaming(),
            allow: pairs(method, self.allow.as_ref(), ':'),
            http: pairs(method, self.http.as_ref(), ' '),
        }
    }
}

/// Returns the values of an option, each split at `separator`.
fn pairs(
    method: &MethodDescriptor,
    option: Option<&ExtensionDescriptor>,
    separator: char,
) -> Vec<(String, String)> {
    let options = method.options();
    let value = option.map(|option| options.get_extension(option));
    let texts = value
        .as_deref()
        .and_then(Value::as_list)
        .unwrap_or_default();
    let halves = texts
        .iter()
        .filter_map(|text| text.as_str()?.split_once(separator));
    halves.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Services that need no macaroon in lnd either: the daemon state, and the wallet unlocker, which
    /// rejects every call.
    const OPEN: [&str; 2] = ["/lnrpc.State/", "/lnrpc.WalletUnlocker/"];

    #[test]
    fn every_method_requires_a_permission() {
        assert!(METHODS.len() > 40, "{}", METHODS.len());
        for method in METHODS.values() {
            let is_open = OPEN.iter().any(|open| method.path.starts_with(open));
            assert_eq!(method.allow.is_empty(), is_open, "{}", method.path);
        }
    }

    #[test]
    fn permissions_match_lnd() {
        let lnds = crate::rpc::test_recordings::recorded("listpermissions.json");
        let lnds = lnds["method_permissions"].as_object().unwrap();
        for (path, method) in METHODS.iter() {
            let Some(lnds) = lnds.get(path) else {
                let is_ours = path.starts_with("/ampdrpc.") || method.allow.is_empty();
                assert!(is_ours, "{path}");
                continue;
            };
            let pair = |pair: &serde_json::Value| {
                let text = |name: &str| pair[name].as_str().unwrap().to_owned();
                (text("entity"), text("action"))
            };
            let lnds: Vec<_> = lnds["permissions"]
                .as_array()
                .unwrap()
                .iter()
                .map(pair)
                .collect();
            assert_eq!(method.allow, lnds, "{path}");
        }
    }

    #[test]
    fn documented_rpc_table_matches_the_served_methods() {
        let text = include_str!("../../../docs/lnd-compatibility.md");
        let (_, table) = text.split_once("\n## Every RPC of lnd\n").unwrap();
        let (table, _) = table.split_once("\n## ").unwrap();
        let rows = table.lines().filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let is_row = cells.len() == 5 && cells[1].contains('/');
            is_row.then(|| (format!("/{}", cells[1]), cells[2].to_owned()))
        });
        let rows: Vec<_> = rows.collect();
        assert!(rows.len() > 150, "{}", rows.len());
        for (path, has) in &rows {
            let served = if METHODS.contains_key(path) {
                "yes"
            } else {
                "no"
            };
            assert_eq!(has, served, "{path}");
        }
        let lnds = METHODS.keys().filter(|path| !path.starts_with("/ampdrpc."));
        for path in lnds {
            assert!(
                rows.iter().any(|(row, _)| row == path),
                "{path} is not in the table"
            );
        }
    }
}
