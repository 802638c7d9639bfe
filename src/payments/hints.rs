//! A request's route hints, as stored with the payment.

use lightning_types::routing::{RouteHint, RouteHintHop, RoutingFees};

use crate::model::payment::HintHopRecord;

pub(super) fn to_records(hints: &[RouteHint]) -> Vec<Vec<HintHopRecord>> {
    let hop = |hop: &RouteHintHop| HintHopRecord {
        node_id: Some(hop.src_node_id),
        scid: hop.short_channel_id,
        fee_base_msat: hop.fees.base_msat,
        fee_ppm: hop.fees.proportional_millionths,
        cltv_delta: hop.cltv_expiry_delta,
    };
    let hint = |hint: &RouteHint| hint.0.iter().map(hop).collect();
    hints.iter().map(hint).collect()
}

/// Returns `None` if a public key is damaged.
pub(super) fn from_records(records: &[Vec<HintHopRecord>]) -> Option<Vec<RouteHint>> {
    let hint = |hops: &Vec<HintHopRecord>| {
        let hops: Option<_> = hops.iter().map(hop).collect();
        hops.map(RouteHint)
    };
    records.iter().map(hint).collect()
}

fn hop(record: &HintHopRecord) -> Option<RouteHintHop> {
    Some(RouteHintHop {
        src_node_id: record.node_id?,
        short_channel_id: record.scid,
        fees: RoutingFees {
            base_msat: record.fee_base_msat,
            proportional_millionths: record.fee_ppm,
        },
        cltv_expiry_delta: record.cltv_delta,
        // They come from lnd's messages, which have no such limits.
        htlc_minimum_msat: None,
        htlc_maximum_msat: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_hints_round_trip() {
        let key = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
        let hop = |scid| RouteHintHop {
            src_node_id: key.parse().unwrap(),
            short_channel_id: scid,
            fees: RoutingFees {
                base_msat: 1,
                proportional_millionths: 2,
            },
            cltv_expiry_delta: 40,
            htlc_minimum_msat: None,
            htlc_maximum_msat: None,
        };
        let hints = vec![RouteHint(vec![hop(7), hop(8)]), RouteHint(vec![hop(9)])];
        let mut records = to_records(&hints);
        assert_eq!(from_records(&records), Some(hints));
        records[0][1].node_id = None;
        assert_eq!(from_records(&records), None);
    }
}
