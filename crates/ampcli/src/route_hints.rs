//! Parser for route hints in JSON, in the format printed by `decodepayreq`.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use lnd_api::proto::lnrpc::{HopHint, RouteHint};

/// Wraps the list, which clap would treat as a repeated flag.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteHints(pub Vec<RouteHint>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    hop_hints: Vec<Hop>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hop {
    node_id: String,
    #[serde(deserialize_with = "number")]
    chan_id: u64,
    #[serde(default)]
    fee_base_msat: u32,
    #[serde(default)]
    fee_proportional_millionths: u32,
    #[serde(default)]
    cltv_expiry_delta: u32,
}

/// Parses a 64-bit number: the API's JSON has strings, but users write numbers.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text
            .parse()
            .map_err(|_| D::Error::custom(format!("{text:?} is not a chan_id"))),
    }
}

/// Parses `[{"hop_hints": [{"node_id": .., "chan_id": .., ..}]}]`.
pub(crate) fn route_hints(text: &str) -> Result<RouteHints, String> {
    let hints: Vec<Hint> = serde_json::from_str(text).map_err(|error| {
        format!(
            "{error}; expected [{{\"hop_hints\": [{{\"node_id\": .., \"chan_id\": .., \
                 \"fee_base_msat\": .., \"fee_proportional_millionths\": .., \
                 \"cltv_expiry_delta\": ..}}]}}]"
        )
    })?;
    let hint = |hint: Hint| RouteHint {
        hop_hints: hint.hop_hints.into_iter().map(hop).collect(),
    };
    Ok(RouteHints(hints.into_iter().map(hint).collect()))
}

fn hop(hop: Hop) -> HopHint {
    HopHint {
        node_id: hop.node_id,
        chan_id: hop.chan_id,
        fee_base_msat: hop.fee_base_msat,
        fee_proportional_millionths: hop.fee_proportional_millionths,
        cltv_expiry_delta: hop.cltv_expiry_delta,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lnd_api::to_json;

    #[test]
    fn accepts_output_of_decodepayreq() {
        let hint = RouteHint {
            hop_hints: vec![HopHint {
                node_id: "02aa".to_owned(),
                chan_id: u64::MAX,
                fee_base_msat: 1,
                fee_proportional_millionths: 2,
                cltv_expiry_delta: 3,
            }],
        };
        let printed = format!("[{}]", to_json(&hint).unwrap());
        assert_eq!(route_hints(&printed), Ok(RouteHints(vec![hint])));
    }

    #[test]
    fn accepts_numeric_chan_ids_and_missing_fees() {
        let text = r#"[{"hop_hints":[{"node_id":"02aa","chan_id":5}]}]"#;
        let RouteHints(hints) = route_hints(text).unwrap();
        assert_eq!(hints[0].hop_hints[0].chan_id, 5);
        assert_eq!(route_hints("[]"), Ok(RouteHints(vec![])));
    }

    #[test]
    fn errors_show_the_expected_format() {
        for text in [
            "",
            "{}",
            "[{}]",
            r#"[{"hop_hints":[{"node_id":"02"}]}]"#,
            r#"[{"hop_hints":[{"node_id":"02","chan_id":"x"}]}]"#,
            r#"[{"hop_hints":[],"other":1}]"#,
        ] {
            let error = route_hints(text).unwrap_err();
            assert!(error.contains("hop_hints"), "{error}");
        }
    }
}
