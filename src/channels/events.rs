//! The room's door for LDK's events: one function per event, named after it.
//!
//! Each takes the event's fields and returns at once: LDK hands out one event after another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, ScriptBuf};
use lightning::events::FundingInfo;
use lightning::ln::types::ChannelId;

use super::accept::{Acceptor, Request};
use super::closed::{ClosedChannels, Closure};
use super::forwards::{self, Forward, Forwards};
use super::open::Opener;
use super::spends::FundingSpends;
use crate::ldk::ChannelManager;

/// All that handles the events of channels.
pub struct Channels {
    manager: Arc<ChannelManager>,
    opener: Arc<Opener>,
    acceptor: Acceptor,
    spends: Arc<FundingSpends>,
    closed: Arc<dyn ClosedChannels>,
    forwards: Arc<dyn Forwards>,
    /// Where the channels are in the chain: LDK no longer knows when it closes them.
    scids: Mutex<HashMap<ChannelId, u64>>,
}

impl Channels {
    pub fn new(
        manager: Arc<ChannelManager>,
        opener: Arc<Opener>,
        acceptor: Acceptor,
        spends: Arc<FundingSpends>,
        closed: Arc<dyn ClosedChannels>,
        forwards: Arc<dyn Forwards>,
    ) -> Self {
        let scids = Mutex::default();
        let channels = Self {
            manager,
            opener,
            acceptor,
            spends,
            closed,
            forwards,
            scids,
        };
        channels.remember_scids();
        channels
    }

    pub fn open_channel_request(&self, request: &Request) {
        self.acceptor.open_channel_request(request);
    }

    pub fn funding_generation_ready(
        &self,
        temporary_channel_id: ChannelId,
        counterparty_node_id: PublicKey,
        channel_value_satoshis: u64,
        output_script: ScriptBuf,
        user_channel_id: u128,
    ) {
        self.opener.funding_generation_ready(
            temporary_channel_id,
            counterparty_node_id,
            channel_value_satoshis,
            output_script,
            user_channel_id,
        );
    }

    pub fn channel_pending(
        &self,
        channel_id: ChannelId,
        user_channel_id: u128,
        counterparty_node_id: PublicKey,
        funding_txo: OutPoint,
    ) {
        tracing::info!(peer = %counterparty_node_id, point = %funding_txo, "channel pending");
        self.spends.watch(channel_id, funding_txo);
        self.opener.channel_pending(user_channel_id, funding_txo);
    }

    pub fn channel_ready(&self, channel_id: ChannelId, counterparty_node_id: PublicKey) {
        tracing::info!(peer = %counterparty_node_id, channel = %channel_id, "channel ready");
        self.remember_scids();
    }

    pub fn channel_closed(&self, closure: &Closure) {
        tracing::info!(channel = %closure.channel_id, reason = %closure.reason, "channel closed");
        self.opener
            .channel_closed(closure.user_channel_id, &closure.reason);
        let scid = self.scids().remove(&closure.channel_id);
        if let Some(mut record) = closure.record() {
            record.scid = scid;
            record.closing = self.spends.closing_transaction(&record.channel_point);
            self.closed.record(record);
        }
    }

    pub fn discard_funding(&self, funding_info: &FundingInfo) {
        self.opener.discard_funding(funding_info);
    }

    pub fn payment_forwarded(&self, forward: Forward) {
        forwards::payment_forwarded(&self.forwards, forward);
    }

    fn remember_scids(&self) {
        let channels = self.manager.list_channels();
        let known = channels
            .iter()
            .filter_map(|c| Some((c.channel_id, c.short_channel_id?)));
        self.scids().extend(known);
    }

    /// No code that holds this lock can panic halfway through a change.
    fn scids(&self) -> MutexGuard<'_, HashMap<ChannelId, u64>> {
        self.scids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
