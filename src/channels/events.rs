//! The entry point for LDK's channel events: one function per event, named after it.
//!
//! Each takes the event's fields and returns without waiting: LDK hands out one event after
//! another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, ScriptBuf};
use lightning::events::{ClosureReason, FundingInfo, HTLCHandlingFailureReason};
use lightning::ln::types::ChannelId;
use tracing::field::display;

use super::acceptors::ChannelAcceptors;
use super::channel_events::{ChannelEvent, ChannelFeed};
use super::closed::{ClosedChannels, Closure};
use super::forwards::{self, Forward, Forwards};
use super::funding_spends::FundingSpends;
use super::htlc_feed::{HtlcFeed, HtlcKind, HtlcStep};
use super::inbound::Acceptor;
use super::inbound_request::Request;
use super::list;
use super::open::{Opener, Unfunded};
use super::unfunded::UnfundedChannels;
use crate::ldk::ChannelManager;
use crate::sync::lock;

/// Handles all channel events.
pub struct EventHandler {
    manager: Arc<ChannelManager>,
    opener: Arc<Opener>,
    acceptor: Arc<Acceptor>,
    spends: Arc<FundingSpends>,
    unfunded: Arc<UnfundedChannels>,
    closed: Arc<dyn ClosedChannels>,
    forwards: Arc<dyn Forwards>,
    feed: ChannelFeed,
    htlcs: HtlcFeed,
    /// The SCIDs of the channels. LDK discards them when it closes a channel, but HTLCs may be
    /// resolved after that.
    scids: Mutex<HashMap<ChannelId, u64>>,
}

/// A channel with a signed funding transaction that is not confirmed yet.
pub(super) struct PendingChannel {
    pub(super) channel_id: ChannelId,
    pub(super) user_channel_id: u128,
    pub(super) peer: PublicKey,
    pub(super) funding_txo: OutPoint,
    /// `None` for channels of old versions of LDK.
    pub(super) funding_redeem_script: Option<ScriptBuf>,
}

impl EventHandler {
    pub fn new(
        manager: Arc<ChannelManager>,
        opener: Arc<Opener>,
        acceptor: Acceptor,
        spends: Arc<FundingSpends>,
        unfunded: Arc<UnfundedChannels>,
        closed: Arc<dyn ClosedChannels>,
        forwards: Arc<dyn Forwards>,
    ) -> Self {
        let scids = Mutex::default();
        let channels = Self {
            manager,
            opener,
            acceptor: Arc::new(acceptor),
            spends,
            unfunded,
            closed,
            forwards,
            feed: ChannelFeed::default(),
            htlcs: HtlcFeed::default(),
            scids,
        };
        channels.remember_scids();
        channels
    }

    /// Returns the feed of channel events.
    pub fn feed(&self) -> &ChannelFeed {
        &self.feed
    }

    /// Returns the feed of HTLC events.
    pub fn htlcs(&self) -> &HtlcFeed {
        &self.htlcs
    }

    /// Returns the channel acceptors.
    pub fn acceptors(&self) -> &ChannelAcceptors {
        self.acceptor.acceptors()
    }

    /// Returns whether a peer's request for a channel waits for a channel acceptor.
    pub fn has_pending_decisions(&self) -> bool {
        self.acceptor.has_pending_decisions()
    }

    pub fn open_channel_request(&self, request: Request) {
        self.acceptor.open_channel_request(request);
    }

    pub(super) fn funding_generation_ready(
        &self,
        channel: Unfunded,
        sat: u64,
        output_script: ScriptBuf,
    ) {
        self.opener
            .funding_generation_ready(channel, sat, output_script);
    }

    pub(super) fn channel_pending(&self, pending: PendingChannel) {
        let PendingChannel {
            channel_id,
            user_channel_id,
            peer,
            funding_txo,
            funding_redeem_script,
        } = pending;
        tracing::info!(%peer, point = %funding_txo, "channel pending");
        let now = Instant::now();
        let channels = self.manager.list_channels_with_counterparty(&peer);
        let channel = channels.iter().find(|one| one.channel_id == channel_id);
        let sat = channel.map(|channel| channel.channel_value_satoshis);
        self.unfunded
            .pending(user_channel_id, channel_id, funding_txo, sat, now);
        // A channel of an unknown peer is watched once bitcoind knows its funding.
        if !self.unfunded.is_unseen(&funding_txo)
            && let Some(script) = funding_redeem_script
        {
            self.spends
                .watch(channel_id, funding_txo, script.to_p2wsh());
        }
        self.feed.tell(ChannelEvent::Pending(funding_txo));
        self.opener.channel_pending(user_channel_id, funding_txo);
    }

    pub fn channel_ready(
        &self,
        channel_id: ChannelId,
        user_channel_id: u128,
        counterparty_node_id: PublicKey,
    ) {
        tracing::info!(peer = %counterparty_node_id, channel = %channel_id, "channel ready");
        self.unfunded.ready(user_channel_id);
        self.remember_scids();
        let of_peer = self
            .manager
            .list_channels_with_counterparty(&counterparty_node_id);
        // It may have been closed in the meantime.
        if let Some(ready) = of_peer.iter().find(|c| c.channel_id == channel_id) {
            let open = Box::new(list::channel(ready));
            self.spends.watch_open(ready);
            self.feed.tell(ChannelEvent::Open(open));
        }
    }

    pub fn channel_closed(&self, closure: &Closure) {
        let peer = closure.counterparty_node_id.map(display);
        let reason = closure.short_reason();
        tracing::info!(peer, channel = %closure.channel_id, reason, "channel closed");
        self.opener
            .channel_closed(closure.user_channel_id, &closure.reason);
        let never_existed = self.never_existed(closure);
        if let Some(mut record) = closure.record() {
            record.scid = self.scid(&closure.channel_id);
            if let Some(closing) = self.spends.closing_transaction(&record.channel_point) {
                record = record.with_closing(closing);
            }
            self.feed.tell(match closure.reason {
                ClosureReason::FundingTimedOut => {
                    ChannelEvent::FundingTimeout(record.channel_point)
                }
                _ => ChannelEvent::Closed(Box::new(record.clone())),
            });
            if !never_existed {
                self.closed.record(record);
            }
        }
    }

    /// Returns whether an unknown peer made up the channel's funding, as far as we know. No record
    /// is kept then.
    fn never_existed(&self, closure: &Closure) -> bool {
        let id = closure.user_channel_id;
        let Some(point) = closure.channel_funding_txo else {
            self.unfunded.withdraw(id);
            return false;
        };
        if matches!(closure.reason, ClosureReason::CommitmentTxConfirmed) {
            self.unfunded.ready(id);
            return false;
        }
        // LDK emits no `ChannelPending` if the channel is closed before its monitor is on disk.
        let now = Instant::now();
        let sat = closure.channel_capacity_sats;
        self.unfunded
            .pending(id, closure.channel_id, point, sat, now);
        // If the operator asked for the close, it is treated like any other.
        let is_watched = self.spends.channel(&point).is_some();
        self.unfunded.closed(id, is_watched, now)
    }

    pub fn discard_funding(&self, funding_info: &FundingInfo) {
        self.opener.discard_funding(funding_info);
    }

    /// Records a forwarded payment and fills in the SCIDs of its channels.
    pub fn payment_forwarded(&self, mut forward: Forward) {
        let scid = |channel: Option<ChannelId>| self.scid(&channel?);
        forward.incoming_scid = scid(forward.incoming_channel);
        forward.outgoing_scid = scid(forward.outgoing_channel);
        let (incoming, outgoing) = (forward.incoming_scid, forward.outgoing_scid);
        let settled = HtlcStep::Settled(None);
        self.htlcs
            .tell(HtlcKind::Forward, incoming, outgoing, settled);
        forwards::payment_forwarded(&self.forwards, forward);
    }

    /// Reports that a payment to us was claimed, with HTLCs from these channels.
    pub fn payment_claimed(&self, incoming: impl Iterator<Item = ChannelId>) {
        for channel in incoming {
            let scid = self.scid(&channel);
            let settled = HtlcStep::Settled(None);
            self.htlcs.tell(HtlcKind::Receive, scid, None, settled);
        }
    }

    /// Reports that an HTLC that we did not originate was failed back. Very old events lack the
    /// `reason`.
    pub fn htlc_failed(
        &self,
        kind: HtlcKind,
        incoming: &ChannelId,
        outgoing: Option<&ChannelId>,
        reason: Option<HTLCHandlingFailureReason>,
    ) {
        let step = match reason {
            Some(HTLCHandlingFailureReason::Downstream) => HtlcStep::FailedBehind,
            Some(HTLCHandlingFailureReason::Local { reason }) => HtlcStep::FailedHere(reason),
            None => return,
        };
        let outgoing = outgoing.and_then(|channel| self.scid(channel));
        self.htlcs.tell(kind, self.scid(incoming), outgoing, step);
    }

    fn scid(&self, channel: &ChannelId) -> Option<u64> {
        self.scids().get(channel).copied()
    }

    fn remember_scids(&self) {
        let channels = self.manager.list_channels();
        let known = channels
            .iter()
            .filter_map(|c| Some((c.channel_id, c.short_channel_id?)));
        self.scids().extend(known);
    }

    fn scids(&self) -> MutexGuard<'_, HashMap<ChannelId, u64>> {
        lock(&self.scids)
    }
}
