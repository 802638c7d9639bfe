//! Passes LDK's events to the modules that handle them.
//!
//! Events are handled synchronously: LDK forgets an event when the handler returns. Everything that the
//! handler queued is committed with, or before, the first manager snapshot without the event.

use std::sync::Arc;

use lightning::events::{Event, ReplayEvent};
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;
use tokio::sync::Notify;

use super::gate::Gate;
use super::inbound_htlcs::{NodeChannelMessages, NodeGateway};
use crate::channels;
use crate::invoices::Registry;
use crate::ldk::OutputSweeper;
use crate::payments::Payments;
use crate::wallet::Wallet;
use crash_points::Point;
use ldk_amp::EnvelopeKey;

/// The modules that handle events.
pub(super) struct EventHandler {
    pub(super) channels: channels::EventHandler,
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
    /// Passes the event to the modules, each of which returns what it does not handle.
    pub(super) fn handle(&self, event: Event) -> Result<(), ReplayEvent> {
        self.wake.notify_one();
        self.prepare(&event);
        let rest = self.channels.handle(event);
        let rest = rest.and_then(|event| self.invoices.handle(&self.envelope_key, event));
        let rest = rest.and_then(|event| self.payments.handle(event));
        rest.map_or(Ok(()), |event| self.handle_rest(event))
    }

    /// Passes on the parts of an event that concern more modules than the one that handles it.
    fn prepare(&self, event: &Event) {
        match event {
            Event::ChannelPending { funding_txo, .. } => self.release_funding(&funding_txo.txid),
            Event::ChannelClosed { channel_id, .. } => {
                self.gateway.forget_channel(channel_id);
                self.channel_messages.forget_channel(channel_id);
            }
            _ => self.channels.report_htlcs(event),
        }
    }

    /// Handles the events that no other module handles. The match names every event, so that a new
    /// one in LDK is not overlooked.
    fn handle_rest(&self, event: Event) -> Result<(), ReplayEvent> {
        match event {
            Event::SpendableOutputs {
                outputs,
                channel_id,
            } => return self.spendable_outputs(outputs, channel_id),
            Event::BumpTransaction(bump) => {
                self.gate.bump(bump);
                crash_points::at(Point::FeeAsked);
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
            // Of attempts made before LDK had payment ids, and failed forwards, which are only
            // reported.
            Event::PaymentSent { .. }
            | Event::PaymentPathFailed { .. }
            | Event::HTLCHandlingFailed { .. } => {}
            // Handled above.
            Event::PaymentClaimable { .. }
            | Event::PaymentClaimed { .. }
            | Event::PaymentFailed { .. }
            | Event::PaymentPathSuccessful { .. }
            | Event::PaymentForwarded { .. }
            | Event::OpenChannelRequest { .. }
            | Event::FundingGenerationReady { .. }
            | Event::ChannelPending { .. }
            | Event::ChannelReady { .. }
            | Event::ChannelClosed { .. }
            | Event::DiscardFunding { .. } => {}
        }
        Ok(())
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
