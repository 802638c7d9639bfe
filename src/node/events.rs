//! Dispatches LDK's events: one match, one call into another module per arm.
//!
//! Events are handled synchronously: LDK forgets an event when the handler returns. Everything that the
//! handler queued is committed with, or before, the first manager snapshot without the event.

use std::collections::BTreeMap;
use std::sync::Arc;

use lightning::events::{
    Event, HTLCHandlingFailureReason, HTLCHandlingFailureType, PathFailure, ReplayEvent,
};
use lightning::ln::types::ChannelId;
use lightning::routing::router::Path;
use lightning::sign::SpendableOutputDescriptor;
use tokio::sync::Notify;

use super::gate::Gate;
use super::port::{NodeChannelMessages, NodeGateway};
use crate::channels::Channels;
use crate::channels::closed::Closure;
use crate::channels::forwards::Forward;
use crate::channels::htlc_feed::HtlcKind;
use crate::channels::inbound_request::Request;
use crate::invoices::{Claimable, Registry};
use crate::ldk::OutputSweeper;
use crate::payments::Payments;
use crate::wallet::Wallet;
use crash_points::Point;
use crash_points::panics;
use ldk_amp::EnvelopeKey;

/// The modules that handle events.
pub(super) struct EventHandler {
    pub(super) channels: Channels,
    pub(super) invoices: Arc<Registry>,
    pub(super) payments: Arc<Payments>,
    pub(super) gateway: Arc<NodeGateway>,
    pub(super) channel_messages: Arc<NodeChannelMessages>,
    pub(super) envelope_key: EnvelopeKey,
    pub(super) wallet: Arc<Wallet>,
    pub(super) sweeper: Arc<OutputSweeper>,
    /// Queues fee bump events until their state is committed.
    pub(super) gate: Arc<Gate>,
    /// Notified after each event, which may have made HTLCs ready to be processed.
    pub(super) wake: Arc<Notify>,
}

impl EventHandler {
    /// Dispatches the event to the module that handles it.
    pub(super) fn handle(&self, event: Event) -> Result<(), ReplayEvent> {
        self.wake.notify_one();
        match event {
            Event::PaymentClaimable {
                payment_hash,
                onion_fields,
                amount_msat,
                purpose,
                claim_deadline,
                receiving_channel_ids,
                ..
            } => {
                panics::at(panics::Place::Event);
                let channels = receiving_channel_ids.into_iter();
                let claimable = Claimable {
                    payment_hash,
                    amount_msat,
                    claim_deadline,
                    channels: channels.map(|(channel, _)| channel).collect(),
                    custom_records: BTreeMap::new(),
                };
                let key = &self.envelope_key;
                self.invoices
                    .payment_claimable(key, claimable, onion_fields, &purpose);
            }
            Event::PaymentClaimed {
                payment_hash,
                htlcs,
                ..
            } => {
                self.invoices.payment_claimed(&payment_hash);
                let incoming = htlcs.iter().map(|htlc| htlc.channel_id);
                self.channels.payment_claimed(incoming);
            }
            Event::PaymentSent {
                payment_id: Some(id),
                payment_preimage,
                ..
            } => {
                self.channels.htlcs().preimage(id, payment_preimage);
                self.payments.payment_sent(&id, &payment_preimage);
            }
            Event::PaymentPathFailed {
                payment_id: Some(id),
                payment_failed_permanently,
                failure,
                path,
                short_channel_id,
                ..
            } => {
                if let PathFailure::OnPath { .. } = failure {
                    self.channels.htlcs().send_failed(first_hop(&path));
                }
                self.payments.payment_path_failed(
                    &id,
                    payment_failed_permanently,
                    &failure,
                    &path,
                    short_channel_id,
                );
            }
            Event::PaymentFailed { payment_id, .. } => self.payments.payment_failed(&payment_id),
            Event::HTLCHandlingFailed {
                prev_channel_id,
                failure_type,
                failure_reason,
            } => self.htlc_failed(&prev_channel_id, &failure_type, failure_reason),
            Event::SpendableOutputs {
                outputs,
                channel_id,
            } => {
                return self.spendable_outputs(outputs, channel_id);
            }
            Event::BumpTransaction(bump) => {
                self.gate.bump(bump);
                crash_points::at(Point::FeeAsked);
            }
            Event::PaymentForwarded {
                prev_channel_id,
                next_channel_id,
                prev_node_id,
                next_node_id,
                total_fee_earned_msat,
                claim_from_onchain_tx,
                outbound_amount_forwarded_msat,
                ..
            } => self.channels.payment_forwarded(Forward {
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
            Event::OpenChannelRequest {
                temporary_channel_id,
                counterparty_node_id,
                funding_satoshis,
                channel_negotiation_type,
                channel_type,
                is_announced,
                params,
            } => self.channels.open_channel_request(Request {
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
            } => self.channels.funding_generation_ready(
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                user_channel_id,
            ),
            Event::ChannelPending {
                channel_id,
                user_channel_id,
                counterparty_node_id,
                funding_txo,
                funding_redeem_script,
                ..
            } => {
                self.release_funding(&funding_txo.txid);
                self.channels.channel_pending(
                    channel_id,
                    user_channel_id,
                    counterparty_node_id,
                    funding_txo,
                    funding_redeem_script,
                );
            }
            Event::ChannelReady {
                channel_id,
                user_channel_id,
                counterparty_node_id,
                ..
            } => {
                self.channels
                    .channel_ready(channel_id, user_channel_id, counterparty_node_id);
            }
            Event::ChannelClosed {
                channel_id,
                user_channel_id,
                reason,
                counterparty_node_id,
                channel_capacity_sats,
                channel_funding_txo,
                last_local_balance_msat,
            } => {
                self.gateway.forget_channel(&channel_id);
                self.channel_messages.forget_channel(&channel_id);
                self.channels.channel_closed(&Closure {
                    channel_id,
                    user_channel_id,
                    reason,
                    counterparty_node_id,
                    channel_capacity_sats,
                    channel_funding_txo: channel_funding_txo.map(|o| o.into_bitcoin_outpoint()),
                    last_local_balance_msat,
                });
            }
            Event::DiscardFunding { funding_info, .. } => {
                self.channels.discard_funding(&funding_info);
            }
            // `peers::Reconnector` keeps connections to peers. Only onion messages request others, and
            // BOLT 12 is not supported yet.
            Event::ConnectionNeeded { .. }
            | Event::InvoiceReceived { .. }
            | Event::OnionMessageIntercepted { .. }
            | Event::OnionMessagePeerConnected { .. }
            | Event::StaticInvoiceRequested { .. }
            | Event::PersistStaticInvoice { .. } => {}
            // Our probes are ordinary payments to random hashes (`payments::probe`), so LDK's probe
            // events never fire. HTLCs are not intercepted.
            Event::ProbeSuccessful { .. }
            | Event::ProbeFailed { .. }
            | Event::HTLCIntercepted { .. } => {}
            // Only for funding flows that are not used: LDK-managed broadcast, dual funding, splicing.
            Event::FundingTxBroadcastSafe { .. }
            | Event::FundingTransactionReadyForSigning { .. }
            | Event::SplicePending { .. }
            | Event::SpliceFailed { .. } => {}
            // The result of a payment arrives as PaymentSent; LDK's event loop has updated the scorer.
            Event::PaymentPathSuccessful {
                payment_id, path, ..
            } => {
                let htlcs = self.channels.htlcs();
                htlcs.send_settled(&payment_id, first_hop(&path));
            }
            // Attempts made before LDK had payment ids.
            Event::PaymentSent {
                payment_id: None, ..
            }
            | Event::PaymentPathFailed {
                payment_id: None, ..
            } => {}
        }
        Ok(())
    }

    /// Handles an incoming HTLC that was failed back.
    fn htlc_failed(
        &self,
        incoming: &ChannelId,
        failed: &HTLCHandlingFailureType,
        reason: Option<HTLCHandlingFailureReason>,
    ) {
        let (kind, outgoing) = match failed {
            HTLCHandlingFailureType::Receive { payment_hash } => {
                self.invoices.htlc_gone(payment_hash);
                (HtlcKind::Receive, None)
            }
            HTLCHandlingFailureType::Forward { channel_id, .. } => {
                (HtlcKind::Forward, Some(channel_id))
            }
            HTLCHandlingFailureType::InvalidForward { .. }
            | HTLCHandlingFailureType::UnknownNextHop { .. }
            | HTLCHandlingFailureType::InvalidOnion => (HtlcKind::Forward, None),
        };
        self.channels.htlc_failed(kind, incoming, outgoing, reason);
    }

    /// Hands spendable outputs to the sweeper, except for those that already pay to the wallet.
    fn spendable_outputs(
        &self,
        mut outputs: Vec<SpendableOutputDescriptor>,
        channel_id: Option<ChannelId>,
    ) -> Result<(), ReplayEvent> {
        outputs.retain(|descriptor| match descriptor {
            SpendableOutputDescriptor::StaticOutput { output, .. } => {
                !self.wallet.is_mine(&output.script_pubkey)
            }
            SpendableOutputDescriptor::DelayedPaymentOutput(_)
            | SpendableOutputDescriptor::StaticPaymentOutput(_) => true,
        });
        if outputs.is_empty() {
            return Ok(());
        }
        let tracked = self
            .sweeper
            .track_spendable_outputs(outputs, channel_id, false, None);
        crash_points::at(Point::Sweeping);
        tracked.map_err(|()| ReplayEvent())
    }

    /// Allows the wallet to rebroadcast the funding transaction.
    fn release_funding(&self, txid: &bitcoin::Txid) {
        if let Err(error) = self.wallet.release(*txid) {
            tracing::error!(%txid, "cannot record a funding transaction in the wallet: {error}");
        }
    }
}

/// The short channel id of our channel through which a payment was sent.
fn first_hop(path: &Path) -> Option<u64> {
    path.hops.first().map(|hop| hop.short_channel_id)
}
