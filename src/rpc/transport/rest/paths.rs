//! Finds the method for the verb and path of a REST request.

use std::sync::LazyLock;

use crate::rpc::transport::methods::{METHODS, Method};

/// A method and the request fields from the path.
pub(super) struct Found {
    pub(super) method: &'static Method,
    /// Request fields by name (`channel_point.output_index`) with their text.
    pub(super) fields: Vec<(&'static str, String)>,
}

/// Reasons why no method was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotFound {
    Path,
    /// The path exists, but for another verb.
    Verb,
}

/// A REST route of a method.
struct Route {
    verb: &'static str,
    segments: Vec<Segment>,
    method: &'static Method,
}

#[derive(PartialEq, Eq)]
enum Segment {
    Text(&'static str),
    Field(&'static str),
}

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| METHODS.values().flat_map(routes).collect());

fn routes(method: &'static Method) -> impl Iterator<Item = Route> {
    method.http.iter().map(move |(verb, path)| Route {
        verb,
        segments: path.split('/').map(segment).collect(),
        method,
    })
}

fn segment(text: &'static str) -> Segment {
    let field = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    field.map_or(Segment::Text(text), Segment::Field)
}

/// Finds the method; `path` is percent-encoded. A segment for a field may be empty: BTCPay requests
/// `/v1/invoice/?r_hash=...`.
pub(super) fn find(verb: &str, path: &str) -> Result<Found, NotFound> {
    let mut best: Option<Found> = None;
    let mut error = NotFound::Path;
    for route in ROUTES.iter() {
        let Some(fields) = route.matches(path) else {
            continue;
        };
        if route.verb != verb {
            error = NotFound::Verb;
            continue;
        }
        // Prefer literal segments: in /v1/channels/pending, "pending" is not a channel point.
        if best
            .as_ref()
            .is_none_or(|best| fields.len() < best.fields.len())
        {
            let method = route.method;
            best = Some(Found { method, fields });
        }
    }
    best.ok_or(error)
}

impl Route {
    fn matches(&self, path: &str) -> Option<Vec<(&'static str, String)>> {
        let mut given = path.split('/');
        let mut fields = Vec::new();
        for segment in &self.segments {
            let text = given.next()?;
            match segment {
                Segment::Text(expected) if *expected == text => {}
                Segment::Text(_) => return None,
                Segment::Field(name) => fields.push((*name, decoded(text))),
            }
        }
        given.next().is_none().then_some(fields)
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(verb: &str, path: &str) -> (&'static str, Vec<(&'static str, String)>) {
        match find(verb, path) {
            Ok(found) => (&found.method.path, found.fields),
            Err(error) => panic!("{verb} {path}: {error:?}"),
        }
    }

    #[test]
    fn finds_methods_and_fields_by_path() {
        let invoice = "/lnrpc.Lightning/LookupInvoice";
        for (verb, path, method, fields) in [
            ("GET", "/v1/getinfo", "/lnrpc.Lightning/GetInfo", &[][..]),
            (
                "GET",
                "/v1/invoice/00ff",
                invoice,
                &[("r_hash_str", "00ff")],
            ),
            ("GET", "/v1/invoice/", invoice, &[("r_hash_str", "")]),
            (
                "GET",
                "/v1/channels/pending",
                "/lnrpc.Lightning/PendingChannels",
                &[],
            ),
            (
                "DELETE",
                "/v1/channels/ab%2Fc/7",
                "/lnrpc.Lightning/CloseChannel",
                &[
                    ("channel_point.funding_txid_str", "ab/c"),
                    ("channel_point.output_index", "7"),
                ],
            ),
        ] {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, text)| (*name, (*text).to_owned()))
                .collect();
            assert_eq!(found(verb, path), (method, fields), "{verb} {path}");
        }
    }

    #[test]
    fn unknown_paths_are_not_found() {
        for path in [
            "/",
            "",
            "/v1",
            "/v1/getinfo/",
            "/v1/nothing",
            "/v1/invoice",
            "//v1/getinfo",
        ] {
            assert_eq!(find("GET", path).err(), Some(NotFound::Path), "{path}");
        }
        assert_eq!(find("POST", "/v1/getinfo").err(), Some(NotFound::Verb));
    }

    #[test]
    fn routes_are_unique() {
        for (index, route) in ROUTES.iter().enumerate() {
            for other in &ROUTES[index + 1..] {
                let is_same = route.verb == other.verb && route.segments == other.segments;
                assert!(!is_same, "{} and {}", route.method.path, other.method.path);
            }
        }
    }

    #[test]
    fn path_fields_exist_in_the_request() {
        for route in ROUTES.iter() {
            for segment in &route.segments {
                let Segment::Field(name) = segment else {
                    continue;
                };
                let first = name.split('.').next().unwrap();
                let field = route.method.request.get_field_by_name(first);
                assert!(field.is_some(), "{name} of {}", route.method.path);
            }
        }
    }
}
