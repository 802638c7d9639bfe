//! Inbound channels whose funding transaction has not been seen, which cost their peer nothing.
//!
//! Anyone can open a channel with a funding transaction that does not exist. LDK keeps such a
//! channel for 2,016 blocks, and accepts no channels from other peers while 50 peers have only
//! unfunded channels (`MAX_UNFUNDED_CHANNEL_PEERS`). So this module limits how many are accepted
//! per hour, closes some when LDK's limit is near, and removes all data of those that are closed.

mod budget;
mod closed;
mod evict;
mod funding;
mod origin;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, TxIn};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::types::ChannelId;
use tokio::sync::Notify;

use self::budget::{Budget, Taken};
use self::closed::{key_of_closed, may_be_made_up};
use self::funding::{Funding, LOOK_AGAIN_LATER};
use super::funding_spends::funding_script;
use super::list;
use crate::ldk::ChainMonitor;
use crate::sync::lock;

pub use self::evict::{is_near_limit, without_funded_channel};
pub use self::funding::{Found, Sought};
pub use self::origin::Origin;

/// The cost of a channel in which the peer pushed an amount to us: LDK keeps its monitor until the
/// funding output is spent, which never happens if the funding does not exist.
const UNITS_IF_PUSHED: u32 = 3;

/// From this number of unseen channels on, bitcoind is asked for all of them as often as for new
/// ones, since some may have to be closed.
const FREQUENT_LOOKUP_THRESHOLD: usize = 30;

/// The maximum number of channels with an amount pushed to us and unknown funding, of all peers,
/// open and closed. LDK never removes the closed ones.
const MAX_PUSHED: usize = 100;
/// The same limit for one peer with a confirmed channel; such a peer is subject to this limit only.
const MAX_PUSHED_OF_PEER: usize = 10;

/// The peer has exceeded its hourly limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// A peer that asks for a channel.
#[derive(Debug, Clone, Copy)]
pub struct NewPeer {
    pub peer: PublicKey,
    pub origin: Origin,
    /// Whether the peer has a confirmed channel, with us or with others.
    pub has_paid: bool,
}

/// An inbound channel whose funding was unconfirmed when we learned of it.
#[derive(Debug)]
struct InboundChannel {
    peer: PublicKey,
    origin: Origin,
    accepted: Instant,
    /// Whether we would own part of the funding output.
    pushed: bool,
    taken: Option<Taken>,
    funding: Option<Funding>,
    closed: bool,
}

/// A channel of an unknown peer whose funding bitcoind does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// We would own nothing of it.
    Worthless,
    /// The peer has pushed an amount to us.
    Pushed,
}

impl InboundChannel {
    fn is_seen(&self) -> bool {
        self.funding.is_some_and(|funding| funding.seen)
    }

    /// Returns whether bitcoind has just reported the funding as unknown, or the peer has not named
    /// it yet.
    fn is_known_unseen(&self, now: Instant) -> bool {
        self.funding
            .is_none_or(|funding| funding.is_known_missing(now))
    }

    /// Returns how long the channel has existed without its funding, according to bitcoind.
    fn age(&self, now: Instant) -> Duration {
        let known = self.funding.map_or(Some(now), |funding| funding.last_look);
        known.map_or(Duration::ZERO, |known| {
            known.saturating_duration_since(self.accepted)
        })
    }
}

/// Inbound channels with unconfirmed funding, by LDK's `user_channel_id`. Closed channels with
/// unseen funding are included until their monitor is removed or the funding confirms.
pub struct UnfundedChannels {
    state: Mutex<State>,
    /// Notified when there is a funding to look up or a monitor to remove.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    channels: HashMap<u128, InboundChannel>,
    budget: Budget,
}

impl Default for UnfundedChannels {
    fn default() -> Self {
        let state = State {
            channels: HashMap::new(),
            budget: Budget::new(Instant::now()),
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }
}

impl UnfundedChannels {
    /// Adds what LDK has at the start: channels, and monitors of closed channels with an amount
    /// pushed to us.
    pub fn restore(&self, channels: &[ChannelDetails], monitors: &ChainMonitor) {
        let now = Instant::now();
        let mut state = self.state();
        for channel in channels.iter().filter(|channel| is_unfunded(channel)) {
            let Some(point) = channel.funding_txo else {
                continue;
            };
            let (id, sat) = (channel.channel_id, channel.channel_value_satoshis);
            let inbound = InboundChannel {
                peer: channel.counterparty.node_id,
                origin: Origin::new(None),
                accepted: now,
                pushed: list::channel(channel).local_balance_msat() > 0,
                taken: None,
                funding: Some(Funding::new(
                    id,
                    point.into_bitcoin_outpoint(),
                    Some(sat),
                    now,
                )),
                closed: false,
            };
            state.channels.insert(channel.user_channel_id, inbound);
        }
        let is_open = |id: &ChannelId| channels.iter().any(|channel| channel.channel_id == *id);
        let ids = monitors.list_monitors().into_iter();
        for id in ids.filter(|id| !is_open(id)) {
            if let Ok(monitor) = monitors.get_monitor(id)
                && may_be_made_up(&monitor)
            {
                let point = monitor.get_funding_txo().into_bitcoin_outpoint();
                let inbound = InboundChannel {
                    peer: monitor.get_counterparty_node_id(),
                    origin: Origin::new(None),
                    accepted: now,
                    pushed: true,
                    taken: None,
                    funding: Some(Funding::new(id, point, None, now)),
                    closed: true,
                };
                state.channels.insert(key_of_closed(&id), inbound);
            }
        }
    }

    /// Adds a channel that is about to be accepted.
    ///
    /// # Errors
    ///
    /// [`TooMany`] if a limit is reached; the peer may try again later.
    pub fn admit(
        &self,
        user_channel_id: u128,
        new_peer: NewPeer,
        pushed: bool,
        now: Instant,
    ) -> Result<(), TooMany> {
        let NewPeer {
            peer,
            origin,
            has_paid,
        } = new_peer;
        let mut state = self.state();
        if pushed && state.has_too_many_pushed(&new_peer) {
            return Err(TooMany);
        }
        let units = units(pushed);
        let charged = (!has_paid).then_some(origin);
        let taken = state.budget.take(peer, charged, units, now);
        let taken = taken.map_err(|_| TooMany)?;
        let inbound = InboundChannel {
            peer,
            origin,
            accepted: now,
            pushed,
            taken: Some(taken),
            funding: None,
            closed: false,
        };
        state.channels.insert(user_channel_id, inbound);
        Ok(())
    }

    /// Sets the funding output of a channel, which should have the value `sat`. The peer may
    /// broadcast the transaction now. Repeated calls have no effect.
    pub fn pending(
        &self,
        user_channel_id: u128,
        channel_id: ChannelId,
        point: OutPoint,
        sat: Option<u64>,
        now: Instant,
    ) {
        let mut state = self.state();
        if let Some(inbound) = state.channels.get_mut(&user_channel_id)
            && inbound.funding.is_none()
        {
            inbound.funding = Some(Funding::new(channel_id, point, sat, now));
            self.changed.notify_one();
        }
    }

    /// Removes a channel whose funding is confirmed.
    pub fn ready(&self, user_channel_id: u128) {
        self.state().remove(user_channel_id);
    }

    /// Handles a closed channel. Returns true if its funding, as far as we know, does not exist,
    /// and we would own nothing of it. A channel that `is_watched` is closed like any other.
    pub fn closed(&self, user_channel_id: u128, is_watched: bool, now: Instant) -> bool {
        let mut state = self.state();
        let Some(inbound) = state.channels.get_mut(&user_channel_id) else {
            return false;
        };
        let seen = inbound.is_seen();
        let pushed = inbound.pushed;
        let Some(funding) = &mut inbound.funding else {
            state.remove(user_channel_id);
            return false;
        };
        if !pushed && seen {
            state.remove(user_channel_id);
            return false;
        }
        if !pushed && is_watched {
            // What it took from the budget is not returned.
            state.channels.remove(&user_channel_id);
            return false;
        }
        // If an amount was pushed to us, we have to find out soon whether the funding exists.
        funding.look_now(now);
        inbound.accepted = now;
        inbound.closed = true;
        self.changed.notify_one();
        !pushed
    }

    /// Removes a channel that LDK did not accept, or that closed before the peer named a funding
    /// transaction.
    pub fn withdraw(&self, user_channel_id: u128) {
        self.state().remove(user_channel_id);
    }

    /// Returns whether this is the funding output of a channel of an unknown peer in which we own
    /// nothing, and that bitcoind does not know.
    pub fn is_unseen(&self, point: &OutPoint) -> bool {
        self.state().unseen(point) == Some(Unseen::Worthless)
    }

    /// Returns whether this is the funding output of any channel of an unknown peer, unknown to
    /// bitcoind.
    pub fn has_named(&self, point: &OutPoint) -> bool {
        self.state().unseen(point).is_some()
    }

    /// Returns the channel whose funding output this input spends, if bitcoind does not know that
    /// output. The outpoint alone proves nothing: the peer named it, and it may be an output that
    /// our claims spend.
    pub fn unseen_spent_by(&self, input: &TxIn) -> Option<Unseen> {
        funding_script(input)?;
        self.state().unseen(&input.previous_output)
    }

    /// Returns whether an unknown peer opened the channel and bitcoind does not know its funding:
    /// it has cost the peer nothing yet.
    pub fn has_unseen_funding(&self, channel: &ChannelDetails) -> bool {
        let state = self.state();
        let inbound = state.channels.get(&channel.user_channel_id);
        inbound.is_some_and(|inbound| !inbound.is_seen())
    }

    /// Returns the funding outputs to look up in bitcoind now.
    pub fn to_look_for(&self, now: Instant) -> Vec<Sought> {
        let state = self.state();
        let crowded = state.is_crowded();
        let due = state.sought().filter_map(|(id, inbound, funding)| {
            (funding.next_look(crowded) <= now).then_some(Sought {
                user_channel_id: id,
                channel_id: funding.channel_id,
                point: funding.point,
                sat: funding.sat,
                closed: inbound.closed,
            })
        });
        due.collect()
    }

    /// Returns the time of the next lookup.
    pub fn next_look(&self) -> Option<Instant> {
        let state = self.state();
        let crowded = state.is_crowded();
        let looks = state.sought();
        let looks = looks.map(|(.., funding)| funding.next_look(crowded));
        looks.min()
    }

    /// Records bitcoind's answer. Returns true if it knows the funding and did not know it before.
    pub fn looked(&self, user_channel_id: u128, found: Found, now: Instant) -> bool {
        let mut state = self.state();
        let Some(inbound) = state.channels.get_mut(&user_channel_id) else {
            return false;
        };
        let is_new = now.saturating_duration_since(inbound.accepted) < LOOK_AGAIN_LATER;
        let Some(funding) = &mut inbound.funding else {
            return false;
        };
        let was_seen = funding.seen;
        funding.looked(found, is_new, now);
        let seen = funding.seen;
        if seen && let Some(taken) = inbound.taken.take() {
            state.budget.give_back(taken);
        } else if was_seen && !seen {
            state.charge(user_channel_id, now);
        }
        if found == Found::Confirmed {
            state.forget_if_closed(user_channel_id);
        }
        seen && !was_seen
    }

    /// Returns the closed channels whose monitors may be removed.
    pub fn closed_channels(&self) -> Vec<ChannelId> {
        let state = self.state();
        let closed = state.channels.values();
        let closed = closed.filter(|one| one.closed && !one.pushed);
        let fundings = closed.filter_map(|one| one.funding);
        fundings.map(|funding| funding.channel_id).collect()
    }

    /// Removes channels that have no monitor any more, or one that waits for no funding.
    pub fn forget(&self, gone: &[ChannelId]) {
        self.state().channels.retain(|_, inbound| {
            let funding = inbound.funding.filter(|_| inbound.closed);
            !funding.is_some_and(|funding| gone.contains(&funding.channel_id))
        });
    }

    /// Shifts the acceptance of all channels into the past.
    #[cfg(test)]
    pub fn age(&self, by: Duration) {
        for inbound in self.state().channels.values_mut() {
            inbound.accepted -= by;
        }
    }

    /// Waits until there is a funding to look up or a monitor to remove.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Returns the fundings to look up, now or later: those of open channels, and of closed ones
    /// with an amount pushed to us.
    fn sought(&self) -> impl Iterator<Item = (u128, &InboundChannel, &Funding)> {
        let channels = self.channels.iter();
        let wanted = channels.filter(|(_, one)| !one.closed || one.pushed);
        wanted.filter_map(|(id, one)| Some((*id, one, one.funding.as_ref()?)))
    }

    fn is_crowded(&self) -> bool {
        let open = self.channels.values().filter(|one| !one.closed);
        open.filter(|one| !one.is_seen()).count() >= FREQUENT_LOOKUP_THRESHOLD
    }

    fn unseen(&self, point: &OutPoint) -> Option<Unseen> {
        let has_named = |inbound: &&InboundChannel| {
            let funding = inbound.funding.filter(|funding| !funding.seen);
            funding.is_some_and(|funding| funding.point == *point)
        };
        let inbound = self.channels.values().find(has_named)?;
        Some(if inbound.pushed {
            Unseen::Pushed
        } else {
            Unseen::Worthless
        })
    }

    fn has_too_many_pushed(&self, new_peer: &NewPeer) -> bool {
        let channels = self.channels.values();
        let pushed = channels.filter(|one| one.pushed && !one.is_seen());
        if new_peer.has_paid {
            let own = pushed.filter(|one| one.peer == new_peer.peer);
            return own.count() >= MAX_PUSHED_OF_PEER;
        }
        pushed.count() >= MAX_PUSHED
    }

    /// Handles a funding that bitcoind no longer knows: the channel counts again, if its peer has
    /// budget left.
    fn charge(&mut self, user_channel_id: u128, now: Instant) {
        if let Some(inbound) = self.channels.get_mut(&user_channel_id) {
            let (peer, origin) = (inbound.peer, inbound.origin);
            let units = units(inbound.pushed);
            inbound.taken = self.budget.take(peer, Some(origin), units, now).ok();
        }
    }

    fn forget_if_closed(&mut self, user_channel_id: u128) {
        let channel = self.channels.get(&user_channel_id);
        if channel.is_some_and(|channel| channel.closed) {
            self.remove(user_channel_id);
        }
    }

    fn remove(&mut self, user_channel_id: u128) {
        let removed = self.channels.remove(&user_channel_id);
        if let Some(taken) = removed.and_then(|inbound| inbound.taken) {
            self.budget.give_back(taken);
        }
    }
}

fn units(pushed: bool) -> u32 {
    if pushed { UNITS_IF_PUSHED } else { 1 }
}

/// Returns whether LDK counts the channel as unfunded.
fn is_unfunded(channel: &ChannelDetails) -> bool {
    !channel.is_outbound
        && channel.confirmations.unwrap_or(0) == 0
        && channel.confirmations_required != Some(0)
}

#[cfg(test)]
mod tests;
