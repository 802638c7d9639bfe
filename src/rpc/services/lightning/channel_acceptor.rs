//! ChannelAcceptor: an API client decides which channels peers may open to us.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use lightning::events::InboundChannelFunds;
use lightning::types::features::ChannelTypeFeatures;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::channels::acceptors::{Decision, Question, REJECTED, Terms};
use crate::channels::config::MAX_ACCEPTED_HTLCS;
use crate::channels::inbound_request::Request;
use crate::rpc::Context;
use crate::rpc::transport::streams::{Answers, Writer, stream};
use lnd_api::proto::lnrpc::{ChannelAcceptRequest, ChannelAcceptResponse, CommitmentType};

/// The maximum length of a rejection text, in bytes (lnd).
const MAX_ERROR: usize = 500;

/// The minimum `csv_delay`, in blocks; LDK opens no channel with less (`BREAKDOWN_TIMEOUT`).
const MIN_CSV_DELAY: u16 = 144;

/// Channels awaiting the client's decision, by temporary channel id.
type Open = HashMap<[u8; 32], Question>;

/// Asks the client about each inbound channel until its stream ends.
pub(super) fn decide(
    context: &Context,
    stop: CancellationToken,
    answers: Streaming<ChannelAcceptResponse>,
) -> Answers<ChannelAcceptRequest> {
    let (questions, network) = (context.channels.join_acceptors(), context.node.network);
    stream(stop, move |writer| {
        follow(writer, questions, answers, network)
    })
}

async fn follow(
    writer: Writer<ChannelAcceptRequest>,
    mut questions: Receiver<Question>,
    mut answers: Streaming<ChannelAcceptResponse>,
    network: Network,
) -> Result<(), Status> {
    let mut open = Open::new();
    loop {
        tokio::select! {
            Some(question) = questions.recv() => {
                if let Some(message) = note(question, &mut open, network) {
                    writer.send(message).await;
                }
            }
            answer = answers.message() => match answer? {
                Some(answer) => apply_answer(&answer, &mut open),
                None => return Ok(()),
            },
        }
    }
}

/// Records the question and returns the message for the client; `None` if there is nothing to ask.
fn note(question: Question, open: &mut Open, network: Network) -> Option<ChannelAcceptRequest> {
    open.retain(|_, question| !question.is_over());
    if question.is_over() {
        return None;
    }
    match open.entry(question.request.temporary_channel_id.0) {
        Entry::Vacant(free) => {
            let message = message(&question.request, network);
            free.insert(question);
            Some(message)
        }
        // Peers choose the temporary ids: an answer for one peer must not decide about another's channel.
        Entry::Occupied(_) => {
            question.answer(Err(REJECTED.to_owned()));
            None
        }
    }
}

/// Applies the client's answer. As in lnd, answers to unknown channels are ignored: Zeus begins with one.
fn apply_answer(answer: &ChannelAcceptResponse, open: &mut Open) {
    let question = open.remove(&*answer.pending_chan_id);
    if let Some(question) = question {
        question.answer(decision(answer));
    }
}

fn message(request: &Request, network: Network) -> ChannelAcceptRequest {
    let (asked, kind) = (&request.params, &request.channel_type);
    let push_msat = match request.channel_negotiation_type {
        InboundChannelFunds::PushMsat(msat) => msat,
        InboundChannelFunds::DualFunded => 0,
    };
    ChannelAcceptRequest {
        node_pubkey: request.counterparty_node_id.serialize().to_vec(),
        chain_hash: ChainHash::using_genesis_block(network).to_bytes().to_vec(),
        pending_chan_id: request.temporary_channel_id.0.to_vec(),
        funding_amt: request.funding_satoshis,
        push_amt: push_msat,
        dust_limit: asked.dust_limit_satoshis,
        max_value_in_flight: asked.max_htlc_value_in_flight_msat,
        // LDK does not expose it.
        channel_reserve: 0,
        min_htlc: asked.htlc_minimum_msat,
        fee_per_kw: asked.commitment_feerate_sat_per_1000_weight.into(),
        csv_delay: asked.to_self_delay.into(),
        max_accepted_htlcs: asked.max_accepted_htlcs.into(),
        channel_flags: request.is_announced.into(),
        commitment_type: commitment_type(kind).into(),
        wants_zero_conf: kind.requires_zero_conf(),
        wants_scid_alias: kind.requires_scid_privacy(),
    }
}

fn commitment_type(kind: &ChannelTypeFeatures) -> CommitmentType {
    if kind.supports_anchors_zero_fee_htlc_tx() {
        CommitmentType::Anchors
    } else if kind.supports_static_remote_key() {
        CommitmentType::StaticRemoteKey
    } else {
        CommitmentType::Legacy
    }
}

fn decision(answer: &ChannelAcceptResponse) -> Decision {
    if !answer.accept && !answer.error.is_empty() && answer.error.len() <= MAX_ERROR {
        return Err(answer.error.clone());
    }
    if !answer.accept && answer.error.is_empty() {
        return Err(REJECTED.to_owned());
    }
    terms(answer).map_err(|why| {
        tracing::error!("rejecting channel: invalid channel acceptor response: {why}");
        REJECTED.to_owned()
    })
}

/// Returns the terms that the client sets for the channel, or why they cannot be applied.
fn terms(answer: &ChannelAcceptResponse) -> Result<Terms, String> {
    if answer.error.len() > MAX_ERROR {
        return Err(format!("error is longer than {MAX_ERROR} bytes"));
    }
    if !answer.error.is_empty() {
        return Err("accept and error are both set".to_owned());
    }
    let unsupported = [
        ("upfront_shutdown", !answer.upfront_shutdown.is_empty()),
        ("reserve_sat", answer.reserve_sat != 0),
        ("in_flight_max_msat", answer.in_flight_max_msat != 0),
        ("zero_conf", answer.zero_conf),
        // LDK would accept it, but ListChannels could not report it later.
        (
            "max_htlc_count other than 483",
            ![0, MAX_ACCEPTED_HTLCS.into()].contains(&answer.max_htlc_count),
        ),
    ];
    if let Some((field, _)) = unsupported.iter().find(|(_, is_set)| *is_set) {
        return Err(format!("{field} is not supported: leave it out"));
    }
    let csv_delay = u16::try_from(answer.csv_delay);
    let csv_delay =
        csv_delay.map_err(|_| format!("csv_delay is above the maximum of {}", u16::MAX))?;
    if (1..MIN_CSV_DELAY).contains(&csv_delay) {
        return Err(format!("csv_delay is below the minimum of {MIN_CSV_DELAY}"));
    }
    Ok(Terms {
        remote_csv_delay: (csv_delay > 0).then_some(csv_delay),
        min_htlc_msat: (answer.min_htlc_in > 0).then_some(answer.min_htlc_in),
        min_depth_blocks: (answer.min_accept_depth > 0).then_some(answer.min_accept_depth),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> ChannelAcceptResponse {
        ChannelAcceptResponse {
            accept: true,
            ..Default::default()
        }
    }

    #[test]
    fn unset_terms_use_the_nodes_defaults() {
        assert_eq!(decision(&accepted()), Ok(Terms::default()));
        let answer = ChannelAcceptResponse {
            csv_delay: 300,
            max_htlc_count: 483,
            min_htlc_in: 2_000,
            min_accept_depth: 6,
            ..accepted()
        };
        let terms = Terms {
            remote_csv_delay: Some(300),
            min_htlc_msat: Some(2_000),
            min_depth_blocks: Some(6),
        };
        assert_eq!(decision(&answer), Ok(terms));
    }

    #[test]
    fn passes_on_rejection_reasons() {
        let refused = |error: &str| {
            let error = error.to_owned();
            decision(&ChannelAcceptResponse {
                error,
                ..Default::default()
            })
        };
        assert_eq!(refused(""), Err(REJECTED.to_owned()));
        assert_eq!(refused("not now"), Err("not now".to_owned()));
        assert_eq!(refused(&"x".repeat(500)), Err("x".repeat(500)));
        assert_eq!(refused(&"x".repeat(501)), Err(REJECTED.to_owned()));
    }

    #[test]
    fn rejects_channels_with_unsupported_terms() {
        let changes: [fn(&mut ChannelAcceptResponse); 8] = [
            |a| a.error = "no".into(),
            |a| a.upfront_shutdown = "bcrt1qxyz".into(),
            |a| a.reserve_sat = 1_000,
            |a| a.in_flight_max_msat = 1_000,
            |a| a.zero_conf = true,
            |a| a.max_htlc_count = 30,
            |a| a.csv_delay = 65_536,
            |a| a.csv_delay = 143,
        ];
        for change in changes {
            let mut answer = accepted();
            change(&mut answer);
            assert_eq!(decision(&answer), Err(REJECTED.to_owned()), "{answer:?}");
        }
    }
}
