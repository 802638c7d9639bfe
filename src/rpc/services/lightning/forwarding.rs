//! ForwardingHistory.

use std::collections::{HashMap, HashSet};

use tonic::Status;

use crate::model::forward::{ForwardQuery, ForwardRow};
use crate::routing::graph_view::GraphView;
use crate::rpc::Context;
use lnd_api::proto::lnrpc::{ForwardingEvent, ForwardingHistoryRequest, ForwardingHistoryResponse};

const SECOND_NS: u64 = 1_000_000_000;

/// The number of events in a response if the client does not set one (lnd).
const DEFAULT_EVENTS: u32 = 100;

/// The maximum number of events in a response (lnd).
const MAX_EVENTS: u32 = 50_000;

/// Lists the forwards of a time range, oldest first.
pub(super) fn history(
    context: &Context,
    request: &ForwardingHistoryRequest,
) -> Result<ForwardingHistoryResponse, Status> {
    let rows = context.channels.forwards(&query(request))?;
    let mut events: Vec<ForwardingEvent> = rows.iter().map(event).collect();
    if request.peer_alias_lookup {
        add_aliases(context, &mut events);
    }
    let returned = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    Ok(ForwardingHistoryResponse {
        forwarding_events: events,
        last_offset_index: request.index_offset.saturating_add(returned),
    })
}

fn query(request: &ForwardingHistoryRequest) -> ForwardQuery {
    let limit = match request.num_max_events {
        0 => DEFAULT_EVENTS,
        events => events.min(MAX_EVENTS),
    };
    ForwardQuery {
        from_ns: request.start_time.saturating_mul(SECOND_NS),
        to_ns: match request.end_time {
            // No end: up to now.
            0 => u64::MAX,
            end => end.saturating_mul(SECOND_NS),
        },
        offset: request.index_offset.into(),
        limit: limit.into(),
        incoming: request.incoming_chan_ids.clone(),
        outgoing: request.outgoing_chan_ids.clone(),
    }
}

fn event(row: &ForwardRow) -> ForwardingEvent {
    let out_msat = row.amount_out_msat.unwrap_or_default();
    let fee_msat = row.fee_msat.unwrap_or_default();
    let in_msat = row.fee_msat.map_or(0, |fee| out_msat.saturating_add(fee));
    ForwardingEvent {
        timestamp: row.forwarded_at_ns / SECOND_NS,
        chan_id_in: row.scid_in.unwrap_or_default(),
        chan_id_out: row.scid_out.unwrap_or_default(),
        amt_in: in_msat / 1000,
        amt_out: out_msat / 1000,
        fee: fee_msat / 1000,
        fee_msat,
        amt_in_msat: in_msat,
        amt_out_msat: out_msat,
        timestamp_ns: row.forwarded_at_ns,
        ..Default::default()
    }
}

/// Fills in the peers' aliases, looking each channel up once.
fn add_aliases(context: &Context, events: &mut [ForwardingEvent]) {
    let ends = events
        .iter()
        .flat_map(|event| [event.chan_id_in, event.chan_id_out]);
    let scids: HashSet<u64> = ends.collect();
    let view = context.graph.view();
    let known = scids
        .into_iter()
        .map(|scid| (scid, peer_alias(&view, scid)));
    let known: HashMap<u64, String> = known.collect();
    // The view blocks gossip.
    drop(view);
    let of = |scid: u64| known.get(&scid).cloned().unwrap_or_default();
    for event in events {
        event.peer_alias_in = of(event.chan_id_in);
        event.peer_alias_out = of(event.chan_id_out);
    }
}

/// Returns the alias of our peer in this channel, or lnd's text if the channel is gone.
fn peer_alias(view: &GraphView<'_>, scid: u64) -> String {
    let alias = view.peer_alias(scid);
    alias.unwrap_or_else(|| "unable to lookup peer alias: edge not found".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::test_recordings::{number, printed, recorded, without};

    #[test]
    fn events_match_lnd() {
        // The aliases come from the graph; LDK does not expose the HTLC ids.
        let not_compared = [
            "peer_alias_in",
            "peer_alias_out",
            "incoming_htlc_id",
            "outgoing_htlc_id",
        ];
        let lnd = recorded("fwdinghistory.json");
        for lnd in lnd["forwarding_events"].as_array().unwrap() {
            let row = ForwardRow {
                forwarded_at_ns: number(&lnd["timestamp_ns"]),
                scid_in: Some(number(&lnd["chan_id_in"])),
                scid_out: Some(number(&lnd["chan_id_out"])),
                amount_out_msat: Some(number(&lnd["amt_out_msat"])),
                fee_msat: Some(number(&lnd["fee_msat"])),
            };
            let ours = printed(&event(&row));
            assert_eq!(
                without(ours, &not_compared),
                without(lnd.clone(), &not_compared)
            );
        }
    }

    #[test]
    fn fields_unknown_to_ldk_are_omitted() {
        let row = ForwardRow {
            forwarded_at_ns: 1,
            scid_in: None,
            scid_out: Some(5),
            amount_out_msat: Some(7_000),
            fee_msat: None,
        };
        let shown = event(&row);
        assert_eq!((shown.amt_in_msat, shown.fee_msat), (0, 0));
        assert_eq!((shown.chan_id_in, shown.amt_out_msat), (0, 7_000));
        let printed = printed(&shown);
        assert!(printed.get("incoming_htlc_id").is_none(), "{printed}");
    }

    #[test]
    fn limits_match_lnd() {
        let parsed = |num_max_events, end_time| {
            query(&ForwardingHistoryRequest {
                num_max_events,
                end_time,
                ..Default::default()
            })
        };
        assert_eq!((parsed(0, 0).limit, parsed(0, 0).to_ns), (100, u64::MAX));
        assert_eq!(parsed(60_000, 0).limit, 50_000);
        assert_eq!(parsed(5, 7).to_ns, 7_000_000_000);
        assert_eq!(parsed(5, u64::MAX).to_ns, u64::MAX);
    }
}
