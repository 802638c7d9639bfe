//! Converts route hints between lnd's messages and LDK's types.

use bitcoin::hex::DisplayHex;
use lightning_types::routing::{RouteHint, RouteHintHop, RoutingFees};
use tonic::Status;

use crate::routing::route_hints::MAX_HINTS;
use crate::rpc::convert::errors::refused;
use crate::rpc::convert::parse::{public_key_hex, within};
use lnd_api::proto::lnrpc;

/// Converts an invoice's route hints to lnd's messages.
pub(in crate::rpc) fn to_messages(hints: &[RouteHint]) -> Vec<lnrpc::RouteHint> {
    let hop = |hop: &RouteHintHop| lnrpc::HopHint {
        node_id: hop.src_node_id.serialize().to_lower_hex_string(),
        chan_id: hop.short_channel_id,
        fee_base_msat: hop.fees.base_msat,
        fee_proportional_millionths: hop.fees.proportional_millionths,
        cltv_expiry_delta: u32::from(hop.cltv_expiry_delta),
    };
    let hint = |hint: &RouteHint| lnrpc::RouteHint {
        hop_hints: hint.0.iter().map(hop).collect(),
    };
    hints.iter().map(hint).collect()
}

/// Parses the route hints requested for an invoice.
pub(in crate::rpc) fn from_messages(hints: &[lnrpc::RouteHint]) -> Result<Vec<RouteHint>, Status> {
    if hints.len() > MAX_HINTS {
        return Err(refused(format!(
            "number of routing hints must not exceed maximum of {MAX_HINTS}"
        )));
    }
    hints
        .iter()
        .map(|hint| {
            hint.hop_hints
                .iter()
                .map(hop)
                .collect::<Result<_, _>>()
                .map(RouteHint)
        })
        .collect()
}

fn hop(hop: &lnrpc::HopHint) -> Result<RouteHintHop, Status> {
    Ok(RouteHintHop {
        src_node_id: public_key_hex(&hop.node_id)?,
        short_channel_id: hop.chan_id,
        fees: RoutingFees {
            base_msat: hop.fee_base_msat,
            proportional_millionths: hop.fee_proportional_millionths,
        },
        cltv_expiry_delta: within(hop.cltv_expiry_delta, "cltv_expiry_delta of a route hint")?,
        htlc_minimum_msat: None,
        htlc_maximum_msat: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> lnrpc::RouteHint {
        lnrpc::RouteHint {
            hop_hints: vec![lnrpc::HopHint {
                node_id: "0263023b725db9e82890799459688ca409a67560e4dc5f3e9ff442e63bac5a1f5c"
                    .into(),
                chan_id: 123_145_302_441_984,
                fee_base_msat: 1000,
                fee_proportional_millionths: 1,
                cltv_expiry_delta: 80,
            }],
        }
    }

    #[test]
    fn route_hints_round_trip() {
        let hints = from_messages(&[message()]).unwrap();
        assert_eq!(to_messages(&hints), [message()]);
    }

    #[test]
    fn rejects_invalid_route_hints() {
        let mut bad_key = message();
        bad_key.hop_hints[0].node_id = "02".into();
        assert!(from_messages(&[bad_key]).is_err());
        let mut bad_delta = message();
        bad_delta.hop_hints[0].cltv_expiry_delta = u32::MAX;
        assert!(from_messages(&[bad_delta]).is_err());
        assert!(from_messages(&vec![message(); 21]).is_err());
    }
}
