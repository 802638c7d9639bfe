//! LDK's events about channels and their HTLCs.

use lightning::events::{Event, HTLCHandlingFailureType, PathFailure};
use lightning::routing::router::Path;

use super::closed::Closure;
use super::events::{EventHandler, PendingChannel};
use super::forwards::Forward;
use super::htlc_feed::HtlcKind;
use super::inbound_request::Request;
use super::open::Unfunded;

impl EventHandler {
    /// Handles an event of opening a channel or of forwarding, or a change of a channel's state.
    /// Returns any other event.
    pub fn handle(&self, event: Event) -> Option<Event> {
        match event {
            Event::OpenChannelRequest {
                temporary_channel_id,
                counterparty_node_id,
                funding_satoshis,
                channel_negotiation_type,
                channel_type,
                is_announced,
                params,
            } => self.open_channel_request(Request {
                temporary_channel_id,
                counterparty_node_id,
                funding_satoshis,
                channel_negotiation_type,
                channel_type,
                is_announced,
                params,
            }),
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                user_channel_id,
            } => {
                let channel = Unfunded {
                    temporary_channel_id,
                    peer: counterparty_node_id,
                    user_channel_id,
                };
                self.funding_generation_ready(channel, channel_value_satoshis, output_script);
            }
            Event::DiscardFunding { funding_info, .. } => self.discard_funding(&funding_info),
            Event::PaymentForwarded {
                prev_channel_id,
                next_channel_id,
                prev_node_id,
                next_node_id,
                total_fee_earned_msat,
                claim_from_onchain_tx,
                outbound_amount_forwarded_msat,
                ..
            } => self.payment_forwarded(Forward {
                incoming_channel: prev_channel_id,
                outgoing_channel: next_channel_id,
                incoming_scid: None,
                outgoing_scid: None,
                incoming_peer: prev_node_id,
                outgoing_peer: next_node_id,
                amount_out_msat: outbound_amount_forwarded_msat,
                fee_msat: total_fee_earned_msat,
                claimed_on_chain: claim_from_onchain_tx,
            }),
            other => return self.handle_state(other),
        }
        None
    }

    /// Handles a change of a channel's state. Returns any other event.
    fn handle_state(&self, event: Event) -> Option<Event> {
        match event {
            Event::ChannelPending {
                channel_id,
                user_channel_id,
                counterparty_node_id,
                funding_txo,
                funding_redeem_script,
                ..
            } => self.channel_pending(PendingChannel {
                channel_id,
                user_channel_id,
                peer: counterparty_node_id,
                funding_txo,
                funding_redeem_script,
            }),
            Event::ChannelReady {
                channel_id,
                user_channel_id,
                counterparty_node_id,
                ..
            } => self.channel_ready(channel_id, user_channel_id, counterparty_node_id),
            Event::ChannelClosed {
                channel_id,
                user_channel_id,
                reason,
                counterparty_node_id,
                channel_capacity_sats,
                channel_funding_txo,
                last_local_balance_msat,
            } => self.channel_closed(&Closure {
                channel_id,
                user_channel_id,
                reason,
                counterparty_node_id,
                channel_capacity_sats,
                channel_funding_txo: channel_funding_txo.map(|o| o.into_bitcoin_outpoint()),
                last_local_balance_msat,
            }),
            other => return Some(other),
        }
        None
    }

    /// Reports what the event says about HTLCs to subscribers of HTLC events.
    pub fn report_htlcs(&self, event: &Event) {
        match event {
            Event::PaymentClaimed { htlcs, .. } => {
                self.payment_claimed(htlcs.iter().map(|htlc| htlc.channel_id));
            }
            Event::PaymentSent {
                payment_id: Some(id),
                payment_preimage,
                ..
            } => self.htlcs().preimage(*id, *payment_preimage),
            Event::PaymentPathSuccessful {
                payment_id, path, ..
            } => self.htlcs().send_settled(payment_id, first_hop(path)),
            Event::PaymentPathFailed {
                payment_id: Some(_),
                failure: PathFailure::OnPath { .. },
                path,
                ..
            } => self.htlcs().send_failed(first_hop(path)),
            Event::HTLCHandlingFailed {
                prev_channel_id,
                failure_type,
                failure_reason,
            } => {
                let (kind, outgoing) = match failure_type {
                    HTLCHandlingFailureType::Receive { .. } => (HtlcKind::Receive, None),
                    HTLCHandlingFailureType::Forward { channel_id, .. } => {
                        (HtlcKind::Forward, Some(channel_id))
                    }
                    HTLCHandlingFailureType::InvalidForward { .. }
                    | HTLCHandlingFailureType::UnknownNextHop { .. }
                    | HTLCHandlingFailureType::InvalidOnion => (HtlcKind::Forward, None),
                };
                self.htlc_failed(kind, prev_channel_id, outgoing, failure_reason.clone());
            }
            _ => {}
        }
    }
}

/// The short channel id of our channel through which a payment was sent.
fn first_hop(path: &Path) -> Option<u64> {
    path.hops.first().map(|hop| hop.short_channel_id)
}
